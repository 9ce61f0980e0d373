/* adapter_fixture.h - runs the cases of an adapter's fixture folder, each as one cmocka test.
 *
 * A file holds one case or an array of cases:
 *   name            shown in the report, after the file's name
 *   url             "/v1/chat/completions" if left out
 *   body            the job's body; body_text where its very bytes matter
 *   endpoint        {model, max_output, flags: ["MAX_TOKENS", …]}
 *   expect_request  {path, headers: {…}, body | body_text}: what build must make
 *   expect_why      part of the reason for which build must refuse
 *   answer          {status, transport, headers: {…}, body | body_text}: what the provider says
 *   expect          {verdict, cause, status, body | body_text, message, request_id, wait_ms,
 *                   usage: {input, cached, output} | null, whole_provider}.  Left out: verdict is
 *                   DONE, cause none, whole_provider false, the others are not looked at
 *   live            true: the answer is taken while it is made; asked for as a stream where that can be
 *   stream          {status, headers, events: [{event, data}] | frames: [{name, failure, data}] | text, transport}:
 *                   what comes; data that is no string is printed; transport: how it breaks off
 *   lines           the chunks that must be made, of `stream` or of a whole `answer`; a string where bytes matter
 * Bodies are compared as JSON, *_text byte by byte.  The clock stands at 2023-11-14T22:13:20Z, the
 * random number is 0x0123456789abcdef. */
#ifndef PST_ADAPTER_FIXTURE_H
#define PST_ADAPTER_FIXTURE_H

/* The process's exit code.  argv[1], if given, is a pattern of case names. */
int adapter_fixture_main(const char *adapter, const char *folder, int argc, char **argv);

#endif
