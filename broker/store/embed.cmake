# cmake -DIN=file -DOUT=file.c -P embed.cmake: the file's bytes as pst_lua_source, without a NUL, and their number.
file(READ ${IN} hex HEX)
string(REGEX REPLACE "(................................)" "\\1\n" hex "${hex}")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
file(WRITE ${OUT} "#include \"store/redis_lua.h\"\n\nconst char pst_lua_source[] = {\n${bytes}};\n"
                  "const size_t pst_lua_source_n = sizeof pst_lua_source;\n")
