#include "wire_vectors.h"

#include <stdio.h>

#include "base/json.h"
#include "wire_notation.h"

#define ID "x00000000000000000000000000000000 "
#define FRAME(type) "[1 " #type " 0 0 0 "
#define LATER "[1 nil [true \"later\" x00]] "

static const struct {
    const char *kind, *name, *bytes;
} odd[] = {
    {"messages/ping", "numbers wider than they need be",
     "[!cc01 !cd0003 !cf0102030405060708 !d300000000000003e8 !ce00000011]"},
    {"messages/ping", "deepest nesting", FRAME(3) "[[[[[[[[[[[nil]]]]]]]]]]]]"},
    {"messages/open", "from before there were tenants", FRAME(17) "1 " ID "\"n\" 1 0 0 \"\" \"\"]"},
    {"messages/batch", "from before there were tenants",
     FRAME(49) "1 [" ID "1 1 \"n\" \"\" \"\" @19 0 [] [] []]]"},
    {"messages/outcomes", "from before groups had limits",
     FRAME(81) "1 [[" ID "0 [[\"p\" \"m\"]] [[0 0 1 0 nil 1 0 200 0 0 false 0 0 0 0 0 \"\" \"\" 0 "
                         "0]] [0 0 b0]]]]"},
    {"messages/outcomes", "limits of which little is said",
     FRAME(81) "1 [[" ID "0 [[\"p\" \"m\"]] [] [0 0 b0] [[0 0 60 nil 0] [0 4 1000 0 86400000]]]]]"},
    {"messages/tasks", "from before groups had priorities",
     FRAME(96) "[[" ID "0 0 b0 b0 false [\"p\" \"m\"] \"m\" 0 0 [[0 1]]]]]"},
    {"messages/tasks", "from before groups were live",
     FRAME(96) "[[" ID "0 0 b0 b0 false [\"p\" \"m\"] \"m\" 0 0 [[0 1]] 2]]]"},
    {"messages/done", "an error of a later version", FRAME(48) "7 999 " ID "false \"\"]"},
    {"messages/ack", "text where a field was added", FRAME(98) "41 \"later\"]"},
    {"values/batch_info", "from before there were tenants",
     "[" ID "1 1 \"n\" \"\" \"\" @19 0 [] [] []]"},
    {"values/batch_info", "from before endpoints had cached tokens",
     "[" ID "1 1 \"n\" \"\" \"\" @19 0 [] [[[\"p\" \"m\"] 9 8 0 1 70 60 5 40 30]] [] \"\"]"},
    {"values/route", "prices as integers", "[[] [] [] [] [] true true false false 0 1 nil 0 0]"},
    {"values/route", "a price as float32",
     "[[] [] [] [] [] true true false false 0 nil !ca3f000000 nil 0]"},
    {"values/route", "speed wished as integers",
     "[[] [] [] [] [] true true false false 2 nil nil nil 0 true [25 nil nil 5] [nil nil 3 nil]]"},
};

static const struct {
    const char *kind, *name, *bytes;
    pst_err_t error;
} bad[] = {
    {"messages/ping", "no bytes", "", PST_E_MALFORMED},
    {"messages/ping", "nil", "nil", PST_E_MALFORMED},
    {"messages/ping", "a number", "1", PST_E_MALFORMED},
    {"messages/ping", "a map", "!80", PST_E_MALFORMED},
    {"messages/ping", "the byte msgpack does not use", "!c1", PST_E_MALFORMED},
    {"messages/ping", "an empty array", "[]", PST_E_MALFORMED},
    {"messages/ping", "an array that promises 268435455 values", "!dd0fffffff", PST_E_MALFORMED},
    {"messages/ping", "an array that promises 4294967295 values", "!ddffffffff 1 3 0 0 0",
     PST_E_MALFORMED},
    {"messages/ping", "no sequence number", "[1 3 0 0]", PST_E_MALFORMED},
    {"messages/ping", "bytes behind the message", FRAME(3) "] nil", PST_E_MALFORMED},
    {"messages/ping", "version 0", "[0 3 0 0 0]", PST_E_VERSION},
    {"messages/ping", "version 2, with what may stand in it", "[2 200 9 0 0 !81a16101 !c70100aa]",
     PST_E_VERSION},
    {"messages/ping", "an unknown type", FRAME(6) "]", PST_E_MALFORMED},
    {"messages/ping", "a type beyond 255", "[1 256 0 0 0]", PST_E_MALFORMED},
    {"messages/ping", "a negative number", "[1 3 0 0 -1]", PST_E_MALFORMED},
    {"messages/ping", "a negative number of 64 bits", "[1 3 0 0 !d3ffffffffffffffff]",
     PST_E_MALFORMED},
    {"messages/ping", "a float for a number", "[1 3 0 0 f1.0]", PST_E_MALFORMED},
    {"messages/ping", "nil for a number", "[1 3 nil 0 0]", PST_E_MALFORMED},
    {"messages/ping", "nested too deep", FRAME(3) "[[[[[[[[[[[[nil]]]]]]]]]]]]]", PST_E_MALFORMED},
    {"messages/ping", "a map in a field of a later version", FRAME(3) "!80]", PST_E_MALFORMED},
    {"messages/ping", "an extension type in a field of a later version", FRAME(3) "!c70100aa]",
     PST_E_MALFORMED},
    {"messages/ping", "a float in a field of a later version", FRAME(3) "f1.0]", PST_E_MALFORMED},
    {"messages/ping", "a text longer than what is left", FRAME(3) "!dbffffffff]", PST_E_MALFORMED},
    {"messages/ping", "an array longer than what is left", FRAME(3) "!dcffff]", PST_E_MALFORMED},
    {"messages/ack", "a field is missing", FRAME(98) "]", PST_E_MALFORMED},
    {"messages/ack", "a text for a number", FRAME(98) "\"41\"]", PST_E_MALFORMED},
    {"messages/hello", "role 0", FRAME(1) "0 \"\" \"\" [] []]", PST_E_MALFORMED},
    {"messages/hello", "role 3", FRAME(1) "3 \"\" \"\" [] []]", PST_E_MALFORMED},
    {"messages/hello", "a field is missing", FRAME(1) "1 \"\" \"\" []]", PST_E_MALFORMED},
    {"messages/hello", "a bin for a text", FRAME(1) "1 x00 \"\" [] []]", PST_E_MALFORMED},
    {"messages/hello", "a name too long", FRAME(1) "1 \"\" s257 [] []]", PST_E_TOO_LARGE},
    {"messages/hello", "too many pools", FRAME(1) "2 \"\" \"\" [@257 [\"a\" 1]] []]",
     PST_E_TOO_LARGE},
    {"messages/hello", "a pool without its number", FRAME(1) "2 \"\" \"\" [[\"a\"]] []]",
     PST_E_MALFORMED},
    {"messages/hello", "a slot beyond a pack", FRAME(1) "2 \"\" \"\" [] [[" ID "0 0 256 1]]]",
     PST_E_MALFORMED},
    {"messages/hello", "lists that promise too much", FRAME(1) "2 \"\" \"\" [] !dd00010000]",
     PST_E_MALFORMED},
    {"messages/refused", "an error beyond 16 bits", FRAME(5) "65536 \"\"]", PST_E_MALFORMED},
    {"messages/refused", "a text too long", FRAME(5) "1 s1025]", PST_E_TOO_LARGE},
    {"messages/route", "an unknown url", FRAME(16) "1 4 b3]", PST_E_MALFORMED},
    {"messages/open", "a batch id of 15 bytes", FRAME(17) "1 b15 \"\" 1 0 0 \"\" \"\"]",
     PST_E_MALFORMED},
    {"messages/open", "a batch id of 17 bytes", FRAME(17) "1 b17 \"\" 1 0 0 \"\" \"\"]",
     PST_E_MALFORMED},
    {"messages/open", "a batch id as a text", FRAME(17) "1 s16 \"\" 1 0 0 \"\" \"\"]",
     PST_E_MALFORMED},
    {"messages/open", "an unknown priority", FRAME(17) "1 " ID "\"\" 3 0 0 \"\" \"\"]",
     PST_E_MALFORMED},
    {"messages/open", "a request number beyond 32 bits",
     FRAME(17) "4294967296 " ID "\"\" 1 0 0 \"\" \"\"]", PST_E_MALFORMED},
    {"messages/open", "metadata too long", FRAME(17) "1 " ID "\"\" 1 0 0 \"\" s16385]",
     PST_E_TOO_LARGE},
    {"messages/open", "a tenant too long", FRAME(17) "1 " ID "\"\" 1 0 0 \"\" \"\" s257]", PST_E_TOO_LARGE},
    {"messages/open", "a tenant that is nil", FRAME(17) "1 " ID "\"\" 1 0 0 \"\" \"\" nil]", PST_E_MALFORMED},
    {"messages/pack", "bodies as a text", FRAME(18) "1 " ID "0 0 b3 s3]", PST_E_MALFORMED},
    {"messages/fetch", "half a cursor", FRAME(23) "1 " ID "[0] 0 0]", PST_E_MALFORMED},
    {"messages/get", "a custom_id too long", FRAME(24) "1 " ID "false 0 s513]", PST_E_TOO_LARGE},
    {"messages/get", "a number for a boolean", FRAME(24) "1 " ID "1 0 \"\"]", PST_E_MALFORMED},
    {"messages/call", "an unknown priority", FRAME(28) "1 " ID "\"\" 3 0 0 false b0 b0]", PST_E_MALFORMED},
    {"messages/call", "a tenant too long", FRAME(28) "1 " ID "s257 2 0 0 false b0 b0]", PST_E_TOO_LARGE},
    {"messages/call", "bodies as a text", FRAME(28) "1 " ID "\"\" 2 0 0 false b3 s3]", PST_E_MALFORMED},
    {"messages/call", "a field is missing", FRAME(28) "1 " ID "\"\" 2 0 0 false b3]", PST_E_MALFORMED},
    {"messages/piece", "a piece as a text", FRAME(54) "1 0 s3]", PST_E_MALFORMED},
    {"messages/pieces", "too many pieces", FRAME(82) "[@65 [[" ID "0 0 0 1] 0 b1]]]", PST_E_TOO_LARGE},
    {"messages/pieces", "a task without its dispatch", FRAME(82) "[[[" ID "0 0 0] 0 b1]]]", PST_E_MALFORMED},
    {"messages/pieces", "a list that promises too much", FRAME(82) "!dc0040]", PST_E_MALFORMED},
    {"messages/results", "too many packs", FRAME(51) "1 [0 0] false [@257 b0] 1]", PST_E_TOO_LARGE},
    {"messages/job", "an unknown state", FRAME(52) "1 4 0 0 0 b0]", PST_E_MALFORMED},
    {"messages/outcomes", "verdict 0",
     FRAME(81) "1 [[" ID "0 [[\"p\" \"m\"]] [[0 0 1 0 nil 0 0 0 0 0 false 0 0 0 0 0 \"\" \"\" 0 "
                         "0]] [0 0 b0]]]]",
     PST_E_MALFORMED},
    {"messages/outcomes", "verdict 7",
     FRAME(81) "1 [[" ID "0 [[\"p\" \"m\"]] [[0 0 1 0 nil 7 0 0 0 0 false 0 0 0 0 0 \"\" \"\" 0 "
                         "0]] [0 0 b0]]]]",
     PST_E_MALFORMED},
    {"messages/outcomes", "an endpoint that is not in the table",
     FRAME(81) "1 [[" ID "0 [[\"p\" \"m\"]] [[0 0 1 0 nil 1 0 0 1 0 false 0 0 0 0 0 \"\" \"\" 0 "
                         "0]] [0 0 b0]]]]",
     PST_E_MALFORMED},
    {"messages/outcomes", "no endpoint",
     FRAME(81) "1 [[" ID "0 [[\"p\" \"m\"]] [[0 0 1 0 nil 1 0 0 65535 0 false 0 0 0 0 0 \"\" \"\" "
                         "0 0]] [0 0 b0]]]]",
     PST_E_MALFORMED},
    {"messages/outcomes", "a body beyond the blob",
     FRAME(81) "1 [[" ID "0 [[\"p\" \"m\"]] [[0 0 1 0 nil 1 0 0 0 0 false 0 0 0 0 0 \"\" \"\" 2 "
                         "2]] [0 3 b3]]]]",
     PST_E_MALFORMED},
    {"messages/outcomes", "offset and length wrap around",
     FRAME(81) "1 [[" ID "0 [[\"p\" \"m\"]] [[0 0 1 0 nil 1 0 0 0 0 false 0 0 0 0 0 \"\" \"\" "
                         "4294967295 2]] [0 3 b3]]]]",
     PST_E_MALFORMED},
    {"messages/outcomes", "an uncompressed blob of another length",
     FRAME(81) "1 [[" ID "0 [] [] [0 4 b3]]]]", PST_E_MALFORMED},
    {"messages/outcomes", "an unknown codec", FRAME(81) "1 [[" ID "0 [] [] [3 3 b3]]]]",
     PST_E_MALFORMED},
    {"messages/outcomes", "a blob that would grow too large",
     FRAME(81) "1 [[" ID "0 [] [] [1 50331649 b3]]]]", PST_E_TOO_LARGE},
    {"messages/outcomes", "a message too long",
     FRAME(81) "1 [[" ID "0 [[\"p\" \"m\"]] [[0 0 1 0 nil 1 0 0 0 0 false 0 0 0 0 0 \"\" s1025 0 "
                         "0]] [0 0 b0]]]]",
     PST_E_TOO_LARGE},
    {"messages/outcomes", "a limit of an endpoint that is not in the table",
     FRAME(81) "1 [[" ID "0 [[\"p\" \"m\"]] [] [0 0 b0] [[1 0 60 59 1000]]]]]", PST_E_MALFORMED},
    {"messages/outcomes", "a limit of an unknown rate",
     FRAME(81) "1 [[" ID "0 [[\"p\" \"m\"]] [] [0 0 b0] [[0 5 60 59 1000]]]]]", PST_E_MALFORMED},
    {"messages/outcomes", "a limit of nothing",
     FRAME(81) "1 [[" ID "0 [[\"p\" \"m\"]] [] [0 0 b0] [[0 0 0 0 1000]]]]]", PST_E_MALFORMED},
    {"messages/outcomes", "half a limit", FRAME(81) "1 [[" ID "0 [[\"p\" \"m\"]] [] [0 0 b0] [[0 0 60]]]]]",
     PST_E_MALFORMED},
    {"messages/outcomes", "too many limits",
     FRAME(81) "1 [[" ID "0 [[\"p\" \"m\"]] [] [0 0 b0] [@65 [0 0 60 59 1000]]]]]", PST_E_TOO_LARGE},
    {"messages/cluster", "a field is missing", FRAME(53) "1 [@11 0 []]]", PST_E_MALFORMED},
    {"messages/cluster", "too many providers", FRAME(53) "1 [@11 0 [@257 [\"p\" 0 0 0 0 [] 0 0]] []]]",
     PST_E_TOO_LARGE},
    {"messages/cluster", "too many endpoints",
     FRAME(53) "1 [@11 0 [] [@1025 [[\"p\" \"m\"] @15 0 []]]]]", PST_E_TOO_LARGE},
    {"messages/cluster", "more limits than there are rates",
     FRAME(53) "1 [@11 0 [[\"p\" 0 0 0 0 [@6 [0 60 0 0]] 0 0]] []]]", PST_E_TOO_LARGE},
    {"messages/cluster", "a limit of an unknown rate",
     FRAME(53) "1 [@11 0 [[\"p\" 0 0 0 0 [[5 60 0 0]] 0 0]] []]]", PST_E_MALFORMED},
    {"messages/cluster", "a limit from an unknown source",
     FRAME(53) "1 [@11 0 [[\"p\" 0 0 0 0 [[0 60 3 0]] 0 0]] []]]", PST_E_MALFORMED},
    {"messages/cluster", "lists that promise too much", FRAME(53) "1 [@11 0 [] !dc0400]]", PST_E_MALFORMED},
    {"messages/tasks", "too many slots in a group",
     FRAME(96) "[[" ID "0 0 b0 b0 false [\"p\" \"m\"] \"m\" 0 0 [@257 [0 1]]]]]", PST_E_TOO_LARGE},
    {"messages/tasks", "too many tasks in all groups",
     FRAME(96) "[@5 [" ID "0 0 b0 b0 false [\"p\" \"m\"] \"m\" 0 0 [@205 [0 1]]]]]",
     PST_E_TOO_LARGE},
    {"messages/tasks", "an endpoint without a model",
     FRAME(96) "[[" ID "0 0 b0 b0 false [\"p\"] \"m\" 0 0 []]]]", PST_E_MALFORMED},
    {"values/route", "a negative price", "[[] [] [] [] [] true true false false 0 f-1.0 nil nil 0]",
     PST_E_MALFORMED},
    {"values/route", "a price that is no number",
     "[[] [] [] [] [] true true false false 0 nil fnan nil 0]", PST_E_MALFORMED},
    {"values/route", "an infinite price", "[[] [] [] [] [] true true false false 0 nil nil finf 0]",
     PST_E_MALFORMED},
    {"values/route", "an unknown sort", "[[] [] [] [] [] true true false false 4 nil nil nil 0]",
     PST_E_MALFORMED},
    {"values/route", "speed without its quantiles",
     "[[] [] [] [] [] true true false false 0 nil nil nil 0 true [25 nil nil]]", PST_E_MALFORMED},
    {"values/route", "too many models",
     "[[@9 \"m\"] [] [] [] [] true true false false 0 nil nil nil 0]", PST_E_MALFORMED},
    {"values/route", "too many names",
     "[[] [@33 \"p\"] [] [] [] true true false false 0 nil nil nil 0]", PST_E_MALFORMED},
    {"values/route", "a name too long",
     "[[s257] [] [] [] [] true true false false 0 nil nil nil 0]", PST_E_MALFORMED},
    {"values/pack_headers", "no jobs", "[0 b0 0 0 []]", PST_E_MALFORMED},
    {"values/pack_headers", "too many jobs", "[0 b0 0 0 [@257 [0 \"r\" 0 0 0 0 0 0 \"\"]]]",
     PST_E_TOO_LARGE},
    {"values/pack_headers", "an index twice", "[0 b0 0 0 [@2 [0 \"r\" 0 0 0 0 0 0 \"\"]]]",
     PST_E_MALFORMED},
    {"values/pack_headers", "indexes that fall",
     "[0 b0 0 0 [[1 \"r\" 0 0 0 0 0 0 \"\"] [0 \"r\" 0 0 0 0 0 0 \"\"]]]", PST_E_MALFORMED},
    {"values/pack_headers", "bodies shorter than the text",
     "[0 b0 0 10 [[0 \"r\" 0 0 9 0 0 0 \"\"]]]", PST_E_MALFORMED},
    {"values/pack_headers", "bodies that add up to the text beyond 32 bits",
     "[0 b0 0 1 [[0 \"r\" 0 0 4294967295 0 0 0 \"\"] [1 \"r\" 0 0 2 0 0 0 \"\"]]]",
     PST_E_MALFORMED},
    {"values/pack_headers", "a text too long",
     "[0 b0 0 33554433 [[0 \"r\" 0 0 33554433 0 0 0 \"\"]]]", PST_E_TOO_LARGE},
    {"values/pack_headers", "a job without custom_id that is not rejected",
     "[0 b0 0 0 [[0 nil 0 0 0 0 0 0 \"\"]]]", PST_E_MALFORMED},
    {"values/pack_headers", "a custom_id too long", "[0 b0 0 0 [[0 s513 0 0 0 0 0 0 \"\"]]]",
     PST_E_TOO_LARGE},
    {"values/result_pack", "a job that has not ended",
     "[[] [[0 \"r\" 0 0 0 65535 0 0 0 0 0 0 \"\" \"\" 0 0 0 0 []]] []]", PST_E_MALFORMED},
    {"values/result_pack", "an unknown status",
     "[[] [[0 \"r\" 5 0 0 65535 0 0 0 0 0 0 \"\" \"\" 0 0 0 0 []]] []]", PST_E_MALFORMED},
    {"values/result_pack", "an endpoint that is not in the table",
     "[[] [[0 \"r\" 1 0 0 0 0 0 0 0 0 0 \"\" \"\" 0 0 0 0 []]] []]", PST_E_MALFORMED},
    {"values/result_pack", "an attempt at an endpoint that is not in the table",
     "[[] [[0 \"r\" 1 0 0 65535 0 0 0 0 0 0 \"\" \"\" 0 0 0 0 [[0 200 0 1]]]] []]",
     PST_E_MALFORMED},
    {"values/result_pack", "too many attempts",
     "[[] [[0 \"r\" 1 0 0 65535 0 0 0 0 0 0 \"\" \"\" 0 0 0 0 [@17 [65535 200 0 1]]]] []]",
     PST_E_TOO_LARGE},
    {"values/result_pack", "a blob that is not there",
     "[[] [[0 \"r\" 1 0 0 65535 0 0 0 0 0 0 \"\" \"\" 0 1 0 1 []]] [[0 3 b3]]]", PST_E_MALFORMED},
    {"values/result_pack", "a body beyond its blob",
     "[[] [[0 \"r\" 1 0 0 65535 0 0 0 0 0 0 \"\" \"\" 0 0 1 3 []]] [[0 3 b3]]]", PST_E_MALFORMED},
    {"values/batch_info", "an unknown status", "[" ID "8 1 \"\" \"\" \"\" @19 0 [] [] []]",
     PST_E_MALFORMED},
    {"values/batch_info", "a tenant too long", "[" ID "7 1 \"\" \"\" \"\" @19 0 [] [] [] s257]",
     PST_E_TOO_LARGE},
};

static void put_vector(pst_buf_t *out, const char *name, pst_view_t bytes)
{
    static const char digits[] = "0123456789abcdef";
    pst_buf_puts(out, out->n > 1 ? ",\n{" : "\n{");
    pst_json_put_key(out, "name");
    pst_json_put_str(out, pst_view_str(name));
    pst_json_put_key(out, "hex");
    pst_buf_putc(out, '"');
    for (size_t i = 0; i < bytes.n; i++) {
        pst_buf_putc(out, digits[(uint8_t)bytes.p[i] >> 4]);
        pst_buf_putc(out, digits[(uint8_t)bytes.p[i] & 15]);
    }
    pst_buf_putc(out, '"');
}

static void put_good(const kind_t *k, const char *name, pst_view_t bytes, const thing_t *thing,
                     bool encode, pst_buf_t *out)
{
    put_vector(out, name, bytes);
    if (!encode)
        pst_buf_puts(out, ",\"encode\":false");
    pst_buf_puts(out, ",\"fields\":");
    k->dump(thing, out);
    pst_buf_putc(out, '}');
}

/* The same array with fields of a later version at its end. */
static void put_extended(pst_view_t bytes, pst_buf_t *out)
{
    uint8_t first = (uint8_t)bytes.p[0];
    bool wide = first == 0xdc;
    unsigned n = wide ? (unsigned)(uint8_t)bytes.p[1] << 8 | (uint8_t)bytes.p[2] : first & 15u;
    size_t head = wide ? 3 : 1;
    n += 2;
    pst_buf_putc(out, (char)0xdc);
    pst_buf_putc(out, (char)(n >> 8));
    pst_buf_putc(out, (char)n);
    pst_buf_put(out, bytes.p + head, bytes.n - head);
    notation_put("nil " LATER, out);
}

static void put_odd(const kind_t *k, pst_arena_t *a, pst_buf_t *bytes, pst_buf_t *out)
{
    pst_buf_t again;
    pst_buf_init(&again, 0);
    for (unsigned i = 0; i < PST_COUNT(odd); i++) {
        thing_t thing;
        if (strcmp(odd[i].kind, k->name) != 0)
            continue;
        pst_buf_clear(bytes);
        notation_put(odd[i].bytes, bytes);
        PST_ASSERT(k->decode(pst_buf_view(bytes), a, &thing) == PST_OK);
        pst_buf_clear(&again);
        k->encode(&thing, &again);
        bool same = pst_view_eq(pst_buf_view(&again), pst_buf_view(bytes));
        put_good(k, odd[i].name, pst_buf_view(bytes), &thing, same, out);
    }
    pst_buf_release(&again);
}

void vectors_good(const kind_t *k, pst_buf_t *out)
{
    static const char *const names[] = {"least", "typical", "most"};
    pst_arena_t a;
    pst_buf_t bytes, more;
    pst_arena_init(&a, 0);
    pst_buf_init(&bytes, 0);
    pst_buf_init(&more, 0);
    pst_buf_putc(out, '[');
    for (sample_shape_t shape = SAMPLE_LEAST; shape <= SAMPLE_MOST; shape++) {
        sample_t s = {.shape = shape, .arena = &a};
        thing_t thing;
        kind_sample(k, &s, &thing);
        pst_buf_clear(&bytes);
        k->encode(&thing, &bytes);
        put_good(k, names[shape], pst_buf_view(&bytes), &thing, true, out);
        if (shape == SAMPLE_TYPICAL) {
            put_extended(pst_buf_view(&bytes), &more);
            put_good(k, "with fields of a later version", pst_buf_view(&more), &thing, false, out);
        }
    }
    put_odd(k, &a, &bytes, out);
    pst_buf_puts(out, "\n]\n");
    pst_buf_release(&more);
    pst_buf_release(&bytes);
    pst_arena_release(&a);
}

void vectors_bad(pst_buf_t *out)
{
    pst_buf_t bytes;
    pst_buf_init(&bytes, 0);
    pst_buf_putc(out, '[');
    for (unsigned i = 0; i < PST_COUNT(bad); i++) {
        pst_buf_clear(&bytes);
        notation_put(bad[i].bytes, &bytes);
        put_vector(out, bad[i].name, pst_buf_view(&bytes));
        pst_json_put_key(out, "kind");
        pst_json_put_str(out, pst_view_str(bad[i].kind));
        pst_json_put_key(out, "error");
        pst_json_put_str(out, pst_view_str(pst_err_name(bad[i].error)));
        pst_buf_putc(out, '}');
    }
    pst_buf_puts(out, "\n]\n");
    pst_buf_release(&bytes);
}

static void each_sample(const kind_t *k, pst_buf_t *bytes, vector_fn *f, void *context)
{
    pst_arena_t a;
    pst_arena_init(&a, 0);
    for (sample_shape_t shape = SAMPLE_TYPICAL; shape <= SAMPLE_MOST; shape++) {
        sample_t s = {.shape = shape, .arena = &a};
        thing_t thing;
        kind_sample(k, &s, &thing);
        pst_buf_clear(bytes);
        k->encode(&thing, bytes);
        f(context, k->name, shape == SAMPLE_TYPICAL ? "typical" : "most", pst_buf_view(bytes));
    }
    pst_arena_release(&a);
}

void vectors_each(vector_fn *f, void *context)
{
    pst_buf_t bytes;
    kind_t k;
    pst_buf_init(&bytes, 0);
    for (unsigned i = 0; kind_at(i, &k); i++)
        each_sample(&k, &bytes, f, context);
    for (unsigned i = 0; i < PST_COUNT(odd); i++) {
        pst_buf_clear(&bytes);
        notation_put(odd[i].bytes, &bytes);
        f(context, odd[i].kind, odd[i].name, pst_buf_view(&bytes));
    }
    for (unsigned i = 0; i < PST_COUNT(bad); i++) {
        pst_buf_clear(&bytes);
        notation_put(bad[i].bytes, &bytes);
        f(context, bad[i].kind, bad[i].name, pst_buf_view(&bytes));
    }
    pst_buf_release(&bytes);
}
