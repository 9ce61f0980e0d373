/* limits.h - every limit of the protocol, in one place.  PROTOCOL.md "Limits" is this table in words. */
#ifndef PENSTOCK_LIMITS_H
#define PENSTOCK_LIMITS_H

#define PST_PROTOCOL_VERSION 1

#define PST_FRAME_BYTES_MAX (48u << 20)      /* one ZeroMQ frame; also ZMQ_MAXMSGSIZE */
#define PST_FRAME_DEPTH_MAX 12               /* nesting of arrays in a frame */
#define PST_PACK_JOBS_MAX 256                /* jobs of a pack */
#define PST_PACK_TEXT_BYTES (1u << 20)       /* a pack is closed when its text reaches this; a bigger job is alone */
#define PST_LINE_BYTES_MAX (32u << 20)       /* one input line */
#define PST_HEADERS_BYTES_MAX (1u << 20)     /* headers of a pack */
#define PST_ROUTE_BYTES_MAX (64u << 10)      /* an encoded route */
#define PST_SEGMENT_JOBS_MAX 65536
#define PST_SEGMENT_TEXT_BYTES_MAX (256u << 20) /* a segment is closed before it passes this, unless it holds one pack */
#define PST_BATCH_JOBS_MAX UINT32_MAX
#define PST_CUSTOM_ID_BYTES_MAX 512
#define PST_NAME_BYTES_MAX 256               /* batch, tenant, model, provider, idempotency key */
#define PST_METADATA_BYTES_MAX 16384
#define PST_ROUTE_MODELS_MAX 8               /* `models`, the first included */
#define PST_ROUTE_NAMES_MAX 32               /* order, only, ignore, quantizations each */
#define PST_ATTEMPTS_MAX 5                   /* attempts a job may spend on errors of its own */
#define PST_HISTORY_MAX 16                   /* attempts a result line shows: the latest */
#define PST_MESSAGE_BYTES_MAX 1024           /* an error's text */
#define PST_REQUEST_ID_BYTES_MAX 128
#define PST_RESULT_BODY_BYTES_MAX (32u << 20) /* an answer; a longer one is PAYLOAD_TOO_LARGE */
#define PST_BLOB_TEXT_BYTES_MAX PST_FRAME_BYTES_MAX /* bodies of one blob, decompressed */
#define PST_OUTCOMES_MAX 1024                /* records of one OUTCOMES message */
#define PST_LIMIT_REPORTS_MAX 64             /* limits that a group of outcomes tells of */
#define PST_TASKS_MAX 1024                   /* jobs of one TASKS message */
#define PST_RUNNING_MAX 65536                /* jobs a HELLO may list */
#define PST_WORKER_PROVIDERS_MAX 256
#define PST_PIECES_MAX 64                    /* pieces of one PIECES message */
#define PST_PIECE_BYTES_MAX (1u << 20)       /* a part of an answer that is told while it is made */
#define PST_FETCH_BYTES_MAX (8u << 20)       /* a RESULTS reply stops after the pack that passes the asked bytes */
#define PST_FETCH_PACKS_MAX 256
#define PST_LIST_MAX 100
#define PST_STATUS_ENDPOINTS_MAX 1024        /* endpoints, and parked ones, that a BATCH names */
#define PST_CLUSTER_PROVIDERS_MAX 256        /* that a CLUSTER shows */
#define PST_CLUSTER_ENDPOINTS_MAX 1024
#define PST_WAIT_MS_MAX 30000                /* how long a FETCH may wait at the broker */

#define PST_HEARTBEAT_MS 500                 /* a PING when nothing else was sent for so long */
#define PST_PEER_LOST_MS 2000                /* a peer silent for so long is gone */
#define PST_UPLOAD_PACKS_MAX 32              /* packs a client may have unanswered */
#define PST_UPLOAD_BYTES_MAX (16u << 20)     /* and their bytes, if more than one */
#define PST_UPLOAD_IDLE_MS 600000            /* an uncommitted batch nobody adds to for so long is dropped */

/* Defaults of what `prefix` of a job header is made of, in bytes of the prompt.  Providers cache from about 1,024 tokens
 * on, of some four bytes each: what is shorter is in no cache.  Past 32 KiB two prompts that are alike so far seldom differ
 * soon, and hashing is still cheap beside reading the line. */
#define PST_PREFIX_BYTES_MIN (4u << 10)
#define PST_PREFIX_BYTES_MAX (32u << 10)

#endif
