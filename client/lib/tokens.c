/* tokens.c - one pass over the text, a run at a time: blanks, punctuation, or a word.  A word is priced by its length
 * and by the costliest script in it; ideographs, kana, hangul and emoji are priced one by one.  Plain prose is counted
 * 64 bytes at a time, to the same sum: this pass would otherwise cost as much as all else that is done to a line. */
#include "lib/tokens.h"

#include <xxhash.h>

#include "base/sixteen.h"

/* What a character is.  From CYRILLIC on in rising order of cost a character. */
typedef enum kind {
    BLANK,
    NEWLINE,
    PUNCT,
    LOWER,
    CAPITAL,
    DIGIT,
    CYRILLIC,
    INDIC,
    ROMANCE, /* accented letters of French, Spanish, … */
    HEBREW,
    GERMAN,
    GREEK,
    THAI,
    EASTERN, /* accented letters of Polish, Czech, … */
    HANGUL,  /* from here on each character stands for itself */
    KANA,
    HANZI,
    EMOJI,
    KIND_COUNT,
} kind_t;

/* 1/1000 tokens a character. */
static const uint16_t milli[KIND_COUNT] = {
    [CYRILLIC] = 167, [INDIC] = 204, [ROMANCE] = 222, [HEBREW] = 260, [GERMAN] = 333, [GREEK] = 333,
    [THAI] = 357,     [EASTERN] = 400, [HANGUL] = 700, [KANA] = 741,  [HANZI] = 833,  [EMOJI] = 1111,
};

#define WORD_SHORT 3     /* any word so long is one token */
#define WORD_KNOWN 8     /* lower-case ASCII words so long are in the vocabulary */
#define WORD_PIECE 7     /* letters a token of the others */
#define PUNCT_RUN 6      /* punctuation characters a token */
#define DIGITS 3         /* digits a token */
#define UNBROKEN_MAX 200 /* more bytes without a blank are no prose: base64, hashes */
#define UNBROKEN_MILLI 500 /* 1/1000 tokens a byte of those */

/* Bytes by what they can begin: bits of a run.  LOOK: the backslash and bytes of longer characters. */
enum { B = 1, N = 2, P = 4, L = 8, C = 16, D = 32, LOOK = 64, WORD = L | C | D };

#define EIGHT(x) x, x, x, x, x, x, x, x
static const uint8_t bits[256] = {
    B, B, B, B, B, B, B, B, B, B, N, B, B, B, B, B, EIGHT(B), EIGHT(B),
    B, P, P, P, P, P, P, L, P, P, P, P, P, P, P, P, D, D, D, D, D, D, D, D, D, D, P, P, P, P, P, P,
    P, C, C, C, C, C, C, C, C, C, C, C, C, C, C, C, C, C, C, C, C, C, C, C, C, C, C, P, LOOK, P, P, P,
    P, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, P, P, P, P, B,
    EIGHT(LOOK), EIGHT(LOOK), EIGHT(LOOK), EIGHT(LOOK), EIGHT(LOOK), EIGHT(LOOK), EIGHT(LOOK), EIGHT(LOOK),
    EIGHT(LOOK), EIGHT(LOOK), EIGHT(LOOK), EIGHT(LOOK), EIGHT(LOOK), EIGHT(LOOK), EIGHT(LOOK), EIGHT(LOOK),
};

typedef const unsigned char *bytes_t;

typedef struct scan {
    bytes_t p, end;
    bool escaped;
    bool after_punct;        /* the run before was punctuation */
    uint64_t total;          /* 1/1000 tokens */
    bytes_t unbroken;        /* just past the last blank, and the total there */
    uint64_t unbroken_total;
    bytes_t try_prose;       /* where a window is worth a try again */
    size_t wait;             /* bytes to there after the next that is not */
} scan_t;

/* Characters that are not plain ASCII. */

static const struct {
    uint32_t last; /* code points up to this, from the row before */
    kind_t kind;
} ranges[] = {
    {0x00bf, PUNCT},  {0x017f, ROMANCE}, {0x036f, EASTERN}, {0x03ff, GREEK}, {0x052f, CYRILLIC}, {0x058f, GREEK},
    {0x08ff, HEBREW}, {0x0dff, INDIC},   {0x10ff, THAI},    {0x11ff, HANGUL}, {0x1dff, THAI},    {0x1fff, GREEK},
    {0x2bff, PUNCT},  {0x2fff, HANZI},   {0x303f, PUNCT},   {0x30ff, KANA},  {0xabff, HANZI},    {0xd7ff, HANGUL},
    {0xfaff, HANZI},  {0xffff, PUNCT},   {0x1efff, HANZI},  {0x1faff, EMOJI},
};

static kind_t latin(uint32_t c)
{
    static const uint32_t german[] = {0xc4, 0xd6, 0xdc, 0xdf, 0xe4, 0xf6, 0xfc};
    for (size_t i = 0; i < PST_COUNT(german); i++) {
        if (c == german[i])
            return GERMAN;
    }
    return c < 0x100 ? ROMANCE : EASTERN;
}

static kind_t kind_of(uint32_t c)
{
    static const kind_t ascii[] = {[B] = BLANK, [N] = NEWLINE, [P] = PUNCT, [L] = LOWER, [C] = CAPITAL, [D] = DIGIT};
    if (c < 0x80)
        return c == '\\' ? PUNCT : ascii[bits[c]];
    if (c >= 0xc0 && c < 0x180)
        return latin(c);
    for (size_t i = 0; i < PST_COUNT(ranges); i++) {
        if (c <= ranges[i].last)
            return ranges[i].kind;
    }
    return HANZI;
}

/* The text is valid UTF-8; the bounds hold also if it is not. */
static uint32_t decode_utf8(bytes_t *p, bytes_t end)
{
    unsigned char c = *(*p)++;
    unsigned more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc0 ? 1 : 0;
    uint32_t code = c & (0x3fu >> more);
    for (; more && *p < end; more--)
        code = code << 6 | (*(*p)++ & 0x3f);
    return code;
}

static uint32_t decode_hex(bytes_t p)
{
    uint32_t code = 0;
    for (int i = 0; i < 4; i++) {
        uint32_t digit = p[i] <= '9' ? (uint32_t)(p[i] - '0') : (uint32_t)((p[i] | 0x20) - 'a' + 10);
        code = code << 4 | (digit & 0xf);
    }
    return code;
}

/* *p is past the backslash and the u. */
static kind_t decode_unicode(bytes_t *p, bytes_t end)
{
    if (end - *p < 4)
        return PUNCT;
    uint32_t code = decode_hex(*p);
    *p += 4;
    if (code < 0xd800 || code > 0xdbff || end - *p < 6)
        return kind_of(code);
    uint32_t low = decode_hex(*p + 2);
    *p += 6;
    return kind_of(0x10000 + ((code - 0xd800) << 10) + (low & 0x3ff));
}

/* *p is past the backslash. */
static kind_t decode_escape(bytes_t *p, bytes_t end)
{
    if (*p == end)
        return PUNCT;
    switch (*(*p)++) {
    case 'n': return NEWLINE;
    case 'r': case 't': case 'b': case 'f': return BLANK;
    case 'u': return decode_unicode(p, end);
    default: return PUNCT;
    }
}

/* The character at *p, which is a LOOK; *p moves past it. */
static kind_t decode(const scan_t *s, bytes_t *p)
{
    if (**p >= 0x80)
        return kind_of(decode_utf8(p, s->end));
    ++*p;
    return s->escaped ? decode_escape(p, s->end) : PUNCT;
}

/* Runs. */

static uint64_t divide_up(uint64_t a, unsigned b)
{
    return (a + b - 1) / b;
}

static uint64_t word_milli(uint64_t chars, unsigned seen, kind_t costliest)
{
    if (costliest >= CYRILLIC)
        return divide_up(chars * milli[costliest], 1000) * 1000;
    if (chars <= WORD_SHORT || (seen == L && chars <= WORD_KNOWN))
        return 1000;
    return 1000 * divide_up(chars, seen == D ? DIGITS : WORD_PIECE);
}

/* Letters and digits, of whatever scripts have blanks between their words. */
static void take_word(scan_t *s)
{
    bytes_t p = s->p;
    uint64_t chars = 0;
    unsigned seen = 0, b = 0;
    kind_t costliest = LOWER;
    for (;;) {
        bytes_t start = p;
        while (p < s->end && ((b = bits[*p]) & WORD)) {
            seen |= b;
            p++;
        }
        chars += (uint64_t)(p - start);
        if (p == s->end || b != LOOK)
            break;
        bytes_t next = p;
        kind_t kind = decode(s, &next);
        if (kind < LOWER || kind >= HANGUL)
            break;
        costliest = kind >= CYRILLIC ? PST_MAX(costliest, kind) : costliest;
        seen |= kind == LOWER ? L : C;
        chars++;
        p = next;
    }
    s->total += word_milli(chars, seen, costliest);
    s->after_punct = false;
    s->p = p;
}

static void take_punct(scan_t *s)
{
    bytes_t p = s->p;
    uint64_t chars = 0;
    while (p < s->end) {
        bytes_t next = p + 1;
        if (!(bits[*p] & P) && (bits[*p] != LOOK || decode(s, (next = p, &next)) != PUNCT))
            break;
        chars++;
        p = next;
    }
    s->total += 1000 * divide_up(chars, PUNCT_RUN);
    s->after_punct = true;
    s->p = p;
}

/* What has no blank in it for long costs at least half a token a byte. */
static void end_unbroken(scan_t *s, bytes_t at)
{
    uint64_t n = (uint64_t)(at - s->unbroken);
    if (n > UNBROKEN_MAX)
        s->total = PST_MAX(s->total, s->unbroken_total + n * UNBROKEN_MILLI);
}

/* A run of blanks costs nothing unless it breaks the line; a lone line break joins the punctuation before it. */
static void take_blank(scan_t *s)
{
    bytes_t p = s->p;
    uint64_t chars = 0;
    bool newline = false;
    end_unbroken(s, p);
    while (p < s->end) {
        bytes_t next = p + 1;
        unsigned b = bits[*p];
        if (b == LOOK) {
            next = p;
            kind_t kind = decode(s, &next);
            b = kind == NEWLINE ? N : kind == BLANK ? B : 0;
        }
        if (!(b & (B | N)))
            break;
        newline |= b == N;
        chars++;
        p = next;
    }
    if (newline && !(chars == 1 && s->after_punct))
        s->total += 1000;
    s->after_punct = false;
    s->p = s->unbroken = p;
    s->unbroken_total = s->total;
}

static void take_sign(scan_t *s, kind_t kind, bytes_t next)
{
    end_unbroken(s, s->p);
    s->total += milli[kind];
    s->after_punct = false;
    s->p = s->unbroken = next;
    s->unbroken_total = s->total;
}

static void take_look(scan_t *s)
{
    bytes_t next = s->p;
    kind_t kind = decode(s, &next);
    if (kind >= HANGUL)
        take_sign(s, kind, next);
    else if (kind >= LOWER)
        take_word(s);
    else if (kind == PUNCT)
        take_punct(s);
    else
        take_blank(s);
}

/* What most texts consist of: words of ASCII letters, blanks, and a few signs between them.  64 bytes are looked at
 * together, a bit a byte, without a branch a word: where words end is what a processor cannot guess. */
#define WINDOW 64
#define WINDOW_POOR 16 /* bytes gained; after fewer it is not tried again at once, but WAIT_MIN to WAIT_MAX bytes on */
#define WAIT_MIN 8
#define WAIT_MAX 256

typedef struct window {
    uint64_t letters, capitals, blanks, puncts;
} window_t;

typedef pst_sixteen_t sixteen_t;
#define ALL(byte) PST_SIXTEEN_OF(byte)

/* Of the bytes from first to last, which moving them all brings to the lower end: one comparison. */
static inline sixteen_t within(sixteen_t v, unsigned char first, unsigned char last)
{
    typedef uint8_t unsigned_t __attribute__((vector_size(16)));
    unsigned_t moved = (unsigned_t)v + (uint8_t)(0x80 - first);
    return (sixteen_t)((sixteen_t)moved < ALL(0x80 + last - first + 1));
}

static void look(bytes_t p, window_t *ret)
{
    *ret = (window_t){0};
    for (unsigned i = 0; i < WINDOW; i += 16) {
        sixteen_t v = pst_sixteen_at(p + i);
        sixteen_t letter = within(v | ALL(0x20), 'a', 'z');
        sixteen_t word = letter | (sixteen_t)(v == ALL('\''));
        sixteen_t others = word | within(v, '0', '9') | (sixteen_t)(v == ALL('\\'));
        ret->letters |= pst_sixteen_mask(word) << i;
        ret->capitals |= pst_sixteen_mask(letter & (sixteen_t)(v < ALL('a'))) << i;
        ret->puncts |= pst_sixteen_mask(~others & within(v, '!', '~')) << i;
        ret->blanks |= pst_sixteen_mask((sixteen_t)(v == ALL(' '))) << i;
    }
}

/* Where the processor may not have an instruction for it, the compiler calls a function, which costs twice this. */
static inline unsigned count(uint64_t bits_)
{
#if defined(__x86_64__) && !defined(__POPCNT__)
    bits_ -= bits_ >> 1 & UINT64_C(0x5555555555555555);
    bits_ = (bits_ & UINT64_C(0x3333333333333333)) + (bits_ >> 2 & UINT64_C(0x3333333333333333));
    bits_ = (bits_ + (bits_ >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
    return (unsigned)(bits_ * UINT64_C(0x0101010101010101) >> 56);
#else
    return (unsigned)__builtin_popcountll(bits_);
#endif
}

/* Words as long as the vocabulary's longest which have a capital in them cost a token more. */
static unsigned count_capitalized(uint64_t words, uint64_t capitals)
{
    unsigned n = 0;
    for (uint64_t at = capitals ? words : 0; at; at &= at - 1)
        n += (capitals >> __builtin_ctzll(at) & 0xff) != 0;
    return n;
}

/* The price of words and signs, in tokens; UINT32_MAX if one is too long.  Bit i of x##N: at least N in a row from
 * byte i on. */
static uint32_t price(const window_t *w)
{
    _Static_assert(WORD_KNOWN == 8 && WORD_PIECE == 7 && PUNCT_RUN == 6, "the steps below are theirs");
    uint64_t x1 = w->letters, first = x1 & ~(x1 << 1);
    uint64_t x2 = x1 & x1 >> 1, x4 = x2 & x2 >> 2, x8 = x4 & x4 >> 4, x9 = x8 & x1 >> 8, x15 = x8 & x8 >> 7;
    uint64_t p2 = w->puncts & w->puncts >> 1, p4 = p2 & p2 >> 2;
    if ((x15 & x15 >> 7) | (p4 & p4 >> 3))
        return UINT32_MAX;
    uint64_t sign = w->puncts & ~(w->puncts << 1);
    return count(first | sign) + count(first & x9) + (x15 ? count(first & x15) : 0) +
           count_capitalized(first & x8 & ~x9, w->capitals);
}

/* Up to the window's last blank; what is not words, blanks and signs is left to the others, from the blank before it
 * on.  Returns the bytes taken. */
static unsigned take_window(scan_t *s)
{
    window_t w;
    unsigned char padded[WINDOW] = {0};
    size_t left = (size_t)(s->end - s->p);
    if (left < WINDOW)
        memcpy(padded, s->p, left);
    look(left < WINDOW ? padded : s->p, &w);
    uint64_t others = ~(w.letters | w.blanks | w.puncts);
    w.blanks &= others ? (others & -others) - 1 : ~UINT64_C(0);
    if (w.blanks == 0 || s->p + __builtin_ctzll(w.blanks) - s->unbroken > UNBROKEN_MAX)
        return 0;
    unsigned n = WINDOW - (unsigned)__builtin_clzll(w.blanks);
    uint64_t taken = ~UINT64_C(0) >> (WINDOW - n);
    w.letters &= taken;
    w.puncts &= taken;
    uint32_t tokens = price(&w);
    if (tokens == UINT32_MAX)
        return 0;
    s->total += 1000 * (uint64_t)tokens;
    s->after_punct = false;
    s->p += n;
    s->unbroken = s->p;
    s->unbroken_total = s->total;
    return n;
}

/* Text that is no prose is not looked at again and again: after each window that gained little, later. */
static void skip_prose(scan_t *s)
{
    while (s->p < s->end && s->p >= s->try_prose) {
        if (take_window(s) >= WINDOW_POOR) {
            s->wait = WAIT_MIN;
            continue;
        }
        s->try_prose = s->p + PST_MIN((size_t)(s->end - s->p), s->wait);
        s->wait = PST_MIN(s->wait * 2, (size_t)WAIT_MAX);
    }
}

static uint64_t count_all(pst_view_t text, bool escaped)
{
    scan_t s = {.p = (bytes_t)text.p, .end = (bytes_t)text.p + text.n, .escaped = escaped, .unbroken = (bytes_t)text.p,
                .try_prose = (bytes_t)text.p, .wait = WAIT_MIN};
    while (s.p < s.end) {
        skip_prose(&s);
        if (s.p == s.end)
            break;
        unsigned b = bits[*s.p];
        if (b & WORD)
            take_word(&s);
        else if (b & P)
            take_punct(&s);
        else if (b & (B | N))
            take_blank(&s);
        else
            take_look(&s);
    }
    end_unbroken(&s, s.end);
    return s.total;
}

/* Of long texts a quarter is looked at, a KiB at a time: what a text is made of changes from page to page, not from KiB
 * to KiB, and what is cut at the seams is a word in a hundred and fifty. */
#define WHOLE_BYTES_MAX ((size_t)64 << 10)
#define SAMPLE_BYTES ((size_t)1 << 10)
#define SAMPLE_EVERY (4 * SAMPLE_BYTES)

uint64_t pst_tokens_milli(pst_view_t text, bool escaped)
{
    if (text.n <= WHOLE_BYTES_MAX)
        return count_all(text, escaped);
    uint64_t total = 0, bytes = 0;
    for (size_t at = 0; at < text.n; at += SAMPLE_EVERY) {
        pst_view_t sample = pst_view(text.p + at, PST_MIN(SAMPLE_BYTES, text.n - at));
        total += count_all(sample, escaped);
        bytes += sample.n;
    }
    return total * text.n / bytes;
}

#define CACHED_BYTES_MIN 64

static uint64_t looks_of(pst_view_t text)
{
    uint64_t first, last;
    memcpy(&first, text.p, sizeof first);
    memcpy(&last, text.p + text.n - sizeof last, sizeof last);
    return ((first ^ (last << 32 | last >> 32)) + text.n) * UINT64_C(0x9e3779b97f4a7c15);
}

uint64_t pst_tokens_cached(pst_tokens_cache_t *c, pst_view_t text, bool escaped)
{
    if (text.n < CACHED_BYTES_MIN)
        return pst_tokens_milli(text, escaped);
    uint64_t looks = looks_of(text);
    pst_tokens_known_t *k = &c->known[(looks >> 32) % PST_COUNT(c->known)];
    if (k->looks != looks) {
        *k = (pst_tokens_known_t){.looks = looks};
        return pst_tokens_milli(text, escaped);
    }
    uint64_t hash = XXH3_64bits(text.p, text.n);
    hash += hash == 0;
    if (k->hash != hash)
        *k = (pst_tokens_known_t){looks, hash, pst_tokens_milli(text, escaped)};
    return k->milli;
}
