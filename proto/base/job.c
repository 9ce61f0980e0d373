#include "penstock/job.h"

#include "base/base.h"

#define X(name, number, text) [number] = text,
static const char *const urls[] = {PST_URL_LIST(X)};
static const char *const statuses[] = {PST_JOB_STATUS_LIST(X)};
static const char *const causes[] = {PST_CAUSE_LIST(X)};
#undef X

const char *pst_url_text(unsigned url)
{
    return url < PST_COUNT(urls) ? urls[url] : NULL;
}

int pst_url_parse(pst_view_t text)
{
    for (unsigned i = 0; i < PST_COUNT(urls); i++) {
        if (pst_view_eqs(text, urls[i]))
            return (int)i;
    }
    return -1;
}

const char *pst_job_status_text(unsigned status)
{
    return status < PST_COUNT(statuses) ? statuses[status] : NULL;
}

const char *pst_cause_text(unsigned cause)
{
    return cause < PST_COUNT(causes) ? causes[cause] : NULL;
}
