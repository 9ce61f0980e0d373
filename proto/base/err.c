#include "penstock/err.h"

const char *pst_err_text(pst_err_t e)
{
    switch (e) {
    case PST_OK: return "ok";
#define X(name, number, class, text) case PST_E_##name: return text;
    PST_ERR_LIST(X)
#undef X
    }
    return "unknown error";
}

/* Written out, because the preprocessor cannot lower the case of a name; the compiler
 * (-Wswitch-enum) and err_test tell when one is missing or differs. */
const char *pst_err_name(pst_err_t e)
{
    switch (e) {
    case PST_OK: return "ok";
    case PST_E_INVALID: return "invalid";
    case PST_E_NOMEM: return "nomem";
    case PST_E_IO: return "io";
    case PST_E_NOT_FOUND: return "not_found";
    case PST_E_CONFIG: return "config";
    case PST_E_UNREACHABLE: return "unreachable";
    case PST_E_FULL: return "full";
    case PST_E_TOO_LARGE: return "too_large";
    case PST_E_MALFORMED: return "malformed";
    case PST_E_VERSION: return "version";
    case PST_E_SEQUENCE: return "sequence";
    case PST_E_NO_SESSION: return "no_session";
    case PST_E_STORE_DOWN: return "store_down";
    case PST_E_STORE_FULL: return "store_full";
    case PST_E_FENCED: return "fenced";
    case PST_E_STORE_BAD: return "store_bad";
    case PST_E_STATE: return "state";
    case PST_E_MODEL_NOT_FOUND: return "model_not_found";
    case PST_E_EXISTS: return "exists";
    case PST_E_INPUT: return "input";
    case PST_E_LOADING: return "loading";
    case PST_E_PARKED: return "parked";
    }
    return "unknown";
}

pst_err_class_t pst_err_class(pst_err_t e)
{
    switch (e) {
    case PST_OK: return PST_CLASS_NONE;
#define X(name, number, class, text) case PST_E_##name: return PST_CLASS_##class;
    PST_ERR_LIST(X)
#undef X
    }
    /* From a newer peer: nothing is known of it, so asking again cannot be promised to help. */
    return PST_CLASS_FATAL;
}
