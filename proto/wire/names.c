#include "wire/msg.h"

const char *pst_msg_name(unsigned type)
{
    static const char *const names[] = {
#define X(name, number) [number] = #name,
        PST_MSG_LIST(X)
#undef X
    };
    return type < PST_COUNT(names) && names[type] ? names[type] : "?";
}

const char *pst_batch_status_text(unsigned status)
{
    static const char *const texts[] = {
#define X(name, number, text) [number] = text,
        PST_BATCH_STATUS_LIST(X)
#undef X
    };
    return status < PST_COUNT(texts) ? texts[status] : NULL;
}
