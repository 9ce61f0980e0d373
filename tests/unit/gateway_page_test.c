/* The page's files as the build embedded them: all of page/, byte for byte, and all that they refer to. */
#include "unit.h"

#include <dirent.h>

#include "gateway/page.h"

#define PAGE_DIR PST_SOURCE "/client/gateway/page"
#define FILE_BYTES_MAX (1u << 20)

static char *read_file(const char *name, size_t *ret_n)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", PAGE_DIR, name);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    char *bytes = malloc(FILE_BYTES_MAX);
    assert_non_null(bytes);
    *ret_n = fread(bytes, 1, FILE_BYTES_MAX, f);
    fclose(f);
    return bytes;
}

static const pst_page_file_t *find(const char *path)
{
    return pst_page_find(pst_view_str(path));
}

static void assert_embedded(const char *name)
{
    char path[512] = "/";
    if (strcmp(name, "index.html") != 0)
        snprintf(path, sizeof path, "/ui/%s", name);
    const pst_page_file_t *f = find(path);
    if (!f)
        fail_msg("%s is not embedded", name);
    size_t n;
    char *bytes = read_file(name, &n);
    assert_int_equal(f->bytes.n, n);
    assert_memory_equal(f->bytes.p, bytes, n);
    free(bytes);
}

static void every_file_is_there_byte_for_byte(void **state)
{
    (void)state;
    DIR *d = opendir(PAGE_DIR);
    assert_non_null(d);
    size_t n = 0;
    for (struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] == '.')
            continue;
        assert_embedded(e->d_name);
        n++;
    }
    closedir(d);
    assert_int_equal(n, pst_page_files_n);
}

static void a_file_has_its_type_and_a_tag_of_its_own(void **state)
{
    (void)state;
    assert_string_equal(find("/")->content_type, "text/html; charset=utf-8");
    assert_string_equal(find("/ui/page.css")->content_type, "text/css; charset=utf-8");
    assert_string_equal(find("/ui/app.js")->content_type, "text/javascript; charset=utf-8");
    assert_string_equal(find("/ui/icon.svg")->content_type, "image/svg+xml");
    for (size_t i = 0; i < pst_page_files_n; i++) {
        const char *tag = pst_page_files[i].etag;
        assert_int_equal(strlen(tag), 34);
        assert_true(tag[0] == '"' && tag[33] == '"');
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(tag, pst_page_files[k].etag);
    }
}

static void nothing_else_is_found(void **state)
{
    (void)state;
    static const char *const paths[] = {"",       "/ui", "/ui/",         "/index.html",       "/ui/index.html",
                                        "/ui/ap", "//",  "/ui/page.css/", "/ui/../page.css", "page.css"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        assert_null(find(paths[i]));
    assert_null(pst_page_find(pst_view("/ui/page.css?", 13)));
    assert_null(pst_page_find(pst_view("/\0", 2)));
}

/* What stands between `before` and the next quote: the name of a file of the page. */
static size_t assert_references(const pst_page_file_t *f, const char *before)
{
    size_t found = 0;
    const char *end = f->bytes.p + f->bytes.n;
    for (const char *p = f->bytes.p; (p = memmem(p, (size_t)(end - p), before, strlen(before))); found++) {
        p += strlen(before);
        const char *quote = memchr(p, '"', (size_t)(end - p));
        assert_non_null(quote);
        char path[512];
        snprintf(path, sizeof path, "/ui/%.*s", (int)(quote - p), p);
        if (!find(path))
            fail_msg("%.*s refers to %s, which is not there", (int)f->path.n, f->path.p, path);
    }
    return found;
}

static void what_files_refer_to_is_there(void **state)
{
    (void)state;
    assert_int_equal(assert_references(find("/"), "=\"ui/"), 4);
    size_t imports = 0;
    for (size_t i = 0; i < pst_page_files_n; i++)
        imports += assert_references(&pst_page_files[i], "from \"./");
    assert_true(imports > 10);
}

/* The one address that is allowed is a name: SVG's. */
static void no_file_names_another_host(void **state)
{
    (void)state;
    static const char *const schemes[] = {"http://", "https://", "ws://", "wss://", "\"//"};
    static const char name_of_svg[] = "http://www.w3.org/2000/svg";
    for (size_t i = 0; i < pst_page_files_n; i++) {
        pst_view_t v = pst_page_files[i].bytes;
        for (size_t k = 0; k < sizeof schemes / sizeof *schemes; k++) {
            const char *p = v.p;
            while ((p = memmem(p, (size_t)(v.p + v.n - p), schemes[k], strlen(schemes[k])))) {
                if (strncmp(p, name_of_svg, sizeof name_of_svg - 1) != 0)
                    fail_msg("%.*s: %.40s", (int)pst_page_files[i].path.n, pst_page_files[i].path.p, p);
                p++;
            }
        }
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_file_is_there_byte_for_byte),
    cmocka_unit_test(a_file_has_its_type_and_a_tag_of_its_own),
    cmocka_unit_test(nothing_else_is_found),
    cmocka_unit_test(what_files_refer_to_is_there),
    cmocka_unit_test(no_file_names_another_host),
};
UNIT_MAIN(tests)
