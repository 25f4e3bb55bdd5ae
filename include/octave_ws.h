/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * octave_ws.h - client of the event WebSocket of Octave. C99, C++11.
 *
 *   cc agent.c $(pkg-config --cflags --libs octave-ws)            shared
 *
 * Made of src/capi by cbindgen.
 *
 * Rules that hold for every function
 *
 * Errors     A function that can fail returns OCTAVE_WS_OK (0) or another code: positive codes are no
 *            failures, negative ones are. Codes may be added: treat an unknown negative one as a
 *            failure. The text of the last failure is octave_ws_client_error() or
 *            octave_ws_config_error(), one line, without token or session id.
 * Ownership  A handle that octave_ws_..._new() or _from_env() made is the caller's, and ends with its
 *            _free() or octave_ws_client_close(). Strings and bytes that go in are copied. What comes
 *            out (an item, its texts, the text of an error) belongs to the handle, and is valid until
 *            the next call with the same handle. No function takes or returns memory of malloc(3).
 * Null       For a null handle, functions return OCTAVE_WS_EINVAL, 0, -1 or "", and those that free
 *            do nothing.
 * Texts      Strings that go in are UTF-8 and end with NUL. An octave_ws_text does not end with NUL.
 * Threads    A client or config is used by one thread at a time, of which the caller takes care; it may
 *            move between threads. Different clients share nothing. A stop may be used by all threads
 *            at once. Callbacks come on the thread that called into the library; they must not call it
 *            with the same client, and not longjmp(3) or throw out of it.
 * Signals    octave_ws_stop_now() alone may be called in a signal handler. No function installs
 *            handlers or raises SIGPIPE. A signal ends no wait, and a flag that its handler sets does
 *            not either: use a stop. Look-ups of names, attempts in the background and the ends of
 *            connections have threads of their own, which have the signal mask of the calling thread.
 *            A look-up may outlast its client.
 * fork       Descriptors are close-on-exec. After fork(2), the child must not use any handle.
 * Panics     A bug of the library is OCTAVE_WS_EPANIC. That handle can then only be freed.
 * ABI        Structures are allocated by the library; a later version of the same soname may append
 *            members, and add functions, kinds and codes.
 */


#ifndef OCTAVE_WS_H
#define OCTAVE_WS_H

#include <stddef.h>
#include <stdint.h>

#define OCTAVE_WS_VERSION_MAJOR 0
#define OCTAVE_WS_VERSION_MINOR 1
#define OCTAVE_WS_VERSION_PATCH 0
/* Comparable; (0, 1, 0) is 0x000100. */
#define OCTAVE_WS_MAKE_VERSION(major, minor, patch) (((major) << 16) | ((minor) << 8) | (patch))
#define OCTAVE_WS_VERSION \
    OCTAVE_WS_MAKE_VERSION(OCTAVE_WS_VERSION_MAJOR, OCTAVE_WS_VERSION_MINOR, OCTAVE_WS_VERSION_PATCH)

// Done. octave_ws_client_next(): the item is set.
#define OCTAVE_WS_OK 0

// Nothing came in by the timeout.
#define OCTAVE_WS_TIMEOUT 1

// The client is closed. An earlier call returned why.
#define OCTAVE_WS_CLOSED 2

// An argument cannot be used: a null pointer, no UTF-8, no stream, a value out of range.
#define OCTAVE_WS_EINVAL -1

// A bug of the library: it panicked. The handle can only be freed.
#define OCTAVE_WS_EPANIC -2

// The configuration is invalid or incomplete.
#define OCTAVE_WS_ECONFIG -3

// The system has no descriptor, memory or thread left.
#define OCTAVE_WS_ESYSTEM -4

// There is no connection: it could not be made, or was lost.
#define OCTAVE_WS_EDISCONNECTED -5

// A phase did not complete by its deadline.
#define OCTAVE_WS_ETIMEDOUT -6

// TLS failed, for example because of an invalid certificate.
#define OCTAVE_WS_ETLS -7

// An HTTP status other than success: octave_ws_client_status().
#define OCTAVE_WS_ESTATUS -8

// The service refused the credentials or a stream.
#define OCTAVE_WS_EREFUSED -9

// An answer violates the protocol.
#define OCTAVE_WS_EPROTOCOL -10

// A message exceeds the limit.
#define OCTAVE_WS_ETOOLONG -11

// octave_ws_stop_now() was called.
#define OCTAVE_WS_ESTOPPED -12

// An event of a stream.
#define OCTAVE_WS_EVENT 1

// The answer to a subscription or its end.
#define OCTAVE_WS_ACK 2

// A connection is open. After a loss, the streams are subscribed again by the client. A state lamp goes by
// OCTAVE_WS_CONNECTED and OCTAVE_WS_DISCONNECTED; the next three say whether events are missing.
#define OCTAVE_WS_CONNECTED 3

// Events are missed from from_ms on. Where a handover fails, this can come after OCTAVE_WS_CONNECTED.
#define OCTAVE_WS_LOST 4

// All streams are subscribed again: events may be missing from from_ms to to_ms.
#define OCTAVE_WS_GAP 5

// All streams are subscribed on a new connection, and no event is missing.
#define OCTAVE_WS_HANDOVER 6

// There is no connection: it was lost or given up, or an attempt failed. The next attempt follows after
// after_ms.
#define OCTAVE_WS_DISCONNECTED 7

// A message that the protocol does not define.
#define OCTAVE_WS_UNKNOWN 8

// The answer to octave_ws_client_ping(), after a round trip of after_ms.
#define OCTAVE_WS_PONG 9

// A descriptor of octave_ws_client_watch() is readable: the one with this index.
#define OCTAVE_WS_FD_READY 10

// A failure that an operator has to know.
#define OCTAVE_WS_LOG_ERROR 1

// Lost connections, failed attempts to connect, and the time until the next one.
#define OCTAVE_WS_LOG_WARN 2

// Other changes.
#define OCTAVE_WS_LOG_INFO 3

// Steps of connecting, and requests.
#define OCTAVE_WS_LOG_DEBUG 4

// Pings and heartbeats.
#define OCTAVE_WS_LOG_TRACE 5

// A client. One thread at a time uses it; it may go from thread to thread.
typedef struct octave_ws_client octave_ws_client;

// The configuration of clients.
typedef struct octave_ws_config octave_ws_config;

// Ends every wait of the clients whose configs have it. It cannot be undone.
typedef struct octave_ws_stop octave_ws_stop;

// A text of the library. It does not end with NUL: print it with "%.*s".
typedef struct {
  // Null for an absent text.
  const char *data;
  size_t len;
} octave_ws_text;

// Something that came in, or a change. Members that a kind has no use for are 0 or null. The library
// allocates it: later versions may append members, and add kinds. Ignore unknown ones.
typedef struct {
  // OCTAVE_WS_EVENT and so on.
  int kind;
  // Of an ack: OCTAVE_WS_OK or OCTAVE_WS_EREFUSED. Of the absence of a connection: why.
  int code;
  // Of an ack, or the absence of a connection: the status, as in HTTP, if it has one.
  int status;
  // Of an ack: 1 for the end of a subscription.
  int is_unsubscribe;
  // Of a refusal: 1 if it is temporary, and the client asks again by itself.
  int is_retried;
  // Of a descriptor that is ready: its index.
  int index;
  // Of an event: the Event object, JSON. Of all others: why.
  octave_ws_text text;
  // Of an event, an ack, or an unknown message: the whole message.
  octave_ws_text message;
  // Of an event: its resource. Of an ack: the stream as it was asked for.
  octave_ws_text stream;
  // Of an event: the path of its stream.
  octave_ws_text path;
  // Of an event: its id.
  octave_ws_text id;
  // Of an event: when the cloud received it, Unix time.
  int64_t created_ms;
  // Of an event: when the device generated it, Unix time.
  int64_t generated_ms;
  // Of a loss, a gap or a handover: Unix time.
  int64_t from_ms;
  // Of a gap or a handover: Unix time.
  int64_t to_ms;
  // Of the absence of a connection, or a pong: a duration.
  int64_t after_ms;
  // Of a handover: number of events that came late.
  uint64_t events;
} octave_ws_item;

// Writes a token of at most size bytes, without NUL, and returns its length; a negative number if it
// has no token now: the attempt to connect fails then, and is repeated.
typedef int (*octave_ws_token_fn)(char *token, size_t size, void *user);

// Takes a line of the log, without a line break. It is valid during the call.
typedef void (*octave_ws_log_fn)(int level, const char *line, void *user);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Returns the version that is linked, as OCTAVE_WS_VERSION.
uint32_t octave_ws_version(void);

// Returns the version that is linked, as "0.1.0".
const char *octave_ws_version_string(void);

// Creates a client that is not connected yet: octave_ws_client_next() connects. End it with
// octave_ws_client_close() or octave_ws_client_free(). The config is copied. On failure *client is null,
// and octave_ws_config_error() says why.
int octave_ws_client_new(octave_ws_config *config,
                         octave_ws_client **client);

// Unsubscribes, closes with 1000, and frees the client, whatever it returns; null is ignored. It takes up
// to 1.5 s, after a stop, too. Events that arrive meanwhile are dropped.
int octave_ws_client_close(octave_ws_client *client);

// Drops the connection and frees the client, without waiting; null is ignored.
void octave_ws_client_free(octave_ws_client *client);

// Asks for a stream, by its id or path, now or once connected, without waiting. The answer is an
// OCTAVE_WS_ACK. OCTAVE_WS_EDISCONNECTED: the client is closed.
int octave_ws_client_subscribe(octave_ws_client *client, const char *stream);

// Ends a subscription, as octave_ws_client_subscribe() begins it.
int octave_ws_client_unsubscribe(octave_ws_client *client, const char *stream);

// Sends a ping (RFC 6455 5.5.2). The answer is an OCTAVE_WS_PONG. OCTAVE_WS_EDISCONNECTED: there is no
// connection.
int octave_ws_client_ping(octave_ws_client *client);

// Sends a text message of len bytes unchanged. The answer is an OCTAVE_WS_UNKNOWN. It waits while the
// service does not read, up to the ack timeout. OCTAVE_WS_EDISCONNECTED: there is no connection.
int octave_ws_client_send(octave_ws_client *client,
                          const char *message,
                          size_t len);

// Waits up to timeout_ms (0: not at all; -1: for ever) for the next item, and does all that keeps the
// client connected meanwhile. OCTAVE_WS_OK: *item is set, and valid until the next call with this client;
// else it is null. After OCTAVE_WS_ESTOPPED the client is to be closed; after any other failure but
// OCTAVE_WS_EINVAL it is closed, and to be freed. octave_ws_config_retry_for() retries all that may pass:
// not a refusal of the credentials, a certificate that is not trusted, or a client that is misconfigured.
//
// A call takes longer while it connects, as long as the timeouts of the config allow; with
// octave_ws_config_connect_in_background() it does not.
int octave_ws_client_next(octave_ws_client *client,
                          int timeout_ms,
                          const octave_ws_item **item);

// Lets octave_ws_client_next() return an OCTAVE_WS_FD_READY while one of these descriptors is readable,
// hung up or at its end, in place of those of an earlier call. Of several ready ones it names the first,
// as long as that is ready. They are duplicated. count 0: none.
int octave_ws_client_watch(octave_ws_client *client,
                           const int *fds,
                           size_t count);

// Returns the descriptor to wait for in a loop of the caller's, -1 while there is no connection and no
// attempt in the background. It can change with each octave_ws_client_next(). Neither read from it nor close it.
// Wait for octave_ws_stop_fd(), too. epoll(7): level-triggered, and by a dup(2) of it, which is replaced after
// each octave_ws_client_next() that returned an item.
//
// ```text
// while ((code = octave_ws_client_next(client, 0, &item)) == OCTAVE_WS_OK)
//     handle(item);
// fds[0].fd = octave_ws_client_fd(client);
// fds[0].events = octave_ws_client_events(client);
// poll(fds, n, octave_ws_client_wait_ms(client));
// ```
int octave_ws_client_fd(const octave_ws_client *client);

// Returns what to wait for there: POLLIN, POLLOUT.
short octave_ws_client_events(const octave_ws_client *client);

// Returns the time in milliseconds until octave_ws_client_next() is to be called at the latest: -1 for
// never, 0 for at once, for example since it has not returned OCTAVE_WS_TIMEOUT yet.
int octave_ws_client_wait_ms(const octave_ws_client *client);

// Returns the last failure of this client in one line, "" if there was none. The text belongs to the
// client, and is valid until the next call with it.
const char *octave_ws_client_error(const octave_ws_client *client);

// Returns the HTTP status of the last failure of this client, 0 if it has none.
int octave_ws_client_status(const octave_ws_client *client);

// Returns 1 if there is a connection, as far as is known, and otherwise 0.
int octave_ws_client_is_connected(const octave_ws_client *client);

// Returns the number of connections so far: with each reconnection one more.
uint64_t octave_ws_client_connections(const octave_ws_client *client);

// Returns a constant text for a code, such as "timed out". Never null.
const char *octave_ws_strerror(int code);

// Creates a config with defaults and no credentials. Free it with octave_ws_config_free().
octave_ws_config *octave_ws_config_new(void);

// Creates a config of the variables OCTAVE_* and the config file, as the program octave-ws does; path
// null: the usual files. Free it with octave_ws_config_free(). If that fails, octave_ws_config_error()
// says why, and octave_ws_client_new() fails with OCTAVE_WS_ECONFIG. Credentials may be missing, and be
// set before that. Returns null after a bug of the library alone.
octave_ws_config *octave_ws_config_from_env(const char *path);

// Frees a config; null is ignored. Clients made of it keep what they need.
void octave_ws_config_free(octave_ws_config *config);

// Returns the last failure of this config in one line, "" if there was none. The text belongs to the
// config, and is valid until the next call with it.
const char *octave_ws_config_error(const octave_ws_config *config);

// Checks what can be checked before anything is sent.
int octave_ws_config_validate(octave_ws_config *config);

// Sets the credentials. user null: a restricted token, which needs no user. token null: that of
// octave_ws_config_token_source().
int octave_ws_config_credentials(octave_ws_config *config,
                                 const char *company,
                                 const char *user,
                                 const char *token);

// Sets a function that is asked for the token of each new session, on the thread that calls
// octave_ws_client_next(); null: none. Company and user are those of octave_ws_config_credentials(), or of
// octave_ws_config_from_env() if that has found a token, too. user is passed to the function, and has to outlive
// all clients of the config.
int octave_ws_config_token_source(octave_ws_config *config,
                                  octave_ws_token_fn source,
                                  void *user);

// Sets the function that takes the log of the clients of this config, up to a level, on the thread that
// calls them; null: none. user is passed to it, and has to outlive all clients of the config.
int octave_ws_config_log(octave_ws_config *config,
                         int max_level,
                         octave_ws_log_fn log,
                         void *user);

// Sets the URL of the service, `https://HOST[:PORT][/PREFIX]`.
int octave_ws_config_endpoint(octave_ws_config *config, const char *url);

// Allows an http:// endpoint, to which the token is sent unencrypted.
int octave_ws_config_allow_plaintext(octave_ws_config *config);

// Sets the CA certificates to trust instead of the bundled web roots: len bytes of PEM.
int octave_ws_config_ca_pem(octave_ws_config *config, const uint8_t *pem, size_t len);

// Sets CA certificates to trust beside the others: len bytes of PEM.
int octave_ws_config_extra_ca_pem(octave_ws_config *config, const uint8_t *pem, size_t len);

// Sets the certificate that the client shows, with its chain and its private key: len bytes of PEM.
int octave_ws_config_client_certificate(octave_ws_config *config, const uint8_t *pem, size_t len);

// Sets the value of the header User-Agent.
int octave_ws_config_user_agent(octave_ws_config *config, const char *user_agent);

// Sets the proxy: `[http://][USER:PASSWORD@]HOST[:PORT]`, `socks5://` or `socks5h://`.
int octave_ws_config_proxy(octave_ws_config *config, const char *url);

// Sets the hosts to connect to without the proxy, in the form of the variable NO_PROXY.
int octave_ws_config_no_proxy(octave_ws_config *config, const char *hosts);

// Restricts connections to IP version 4 or 6.
int octave_ws_config_ip_version(octave_ws_config *config, int version);

// Sets the timeout of each of: name resolution, TCP and TLS together; the session answer; the upgrade.
// Default: 10,000 ms.
int octave_ws_config_connect_timeout(octave_ws_config *config,
                                     int64_t ms);

// Sets for how long to retry while there is no connection: -1 for ever, 0 not at all. Default: 0.
int octave_ws_config_retry_for(octave_ws_config *config, int64_t ms);

// Sets the timeout for the answer to a request. Default: 10,000 ms.
int octave_ws_config_ack_timeout(octave_ws_config *config, int64_t ms);

// Sets the silence after which a ping is sent, and the timeout for any data after it; 0 in one of them
// disables pings. Default: 20,000 ms each.
int octave_ws_config_ping(octave_ws_config *config,
                          int64_t interval_ms,
                          int64_t timeout_ms);

// Sets the interval for sending a heartbeat, at least 1,000 ms; 0 disables it. Default: 0.
int octave_ws_config_heartbeat(octave_ws_config *config, int64_t ms);

// Sets the time after which a connection is replaced by a new one without a gap; 0: none. Default: 0.
int octave_ws_config_renew_every(octave_ws_config *config,
                                 int64_t ms);

// Sets whether a silent connection is kept until the next one is subscribed, 0 or 1. Default: 1.
int octave_ws_config_handover(octave_ws_config *config, int handover);

// Sets whether the service is asked to compress its messages, 0 or 1. Default: 1.
int octave_ws_config_compression(octave_ws_config *config, int compression);

// Sets the maximum size of a message in bytes. Default: 16 MiB.
int octave_ws_config_max_message(octave_ws_config *config, size_t bytes);

// Sets whether each attempt to connect is made in a short-lived thread, 0 or 1, so that
// octave_ws_client_next() returns after its timeout meanwhile. Functions are called on the thread of the
// caller all the same. Default: 0.
int octave_ws_config_connect_in_background(octave_ws_config *config,
                                           int in_background);

// Sets a stop, which ends every wait of the clients of this config.
int octave_ws_config_stop(octave_ws_config *config, const octave_ws_stop *stop);

// Creates a stop, which has two descriptors. Free it with octave_ws_stop_free(). Returns null if there are
// no descriptors left.
octave_ws_stop *octave_ws_stop_new(void);

// Stops. Any thread and any signal handler may call it: it is async-signal-safe, and leaves errno as it
// was.
void octave_ws_stop_now(const octave_ws_stop *stop);

// Returns 1 if it was stopped, and otherwise 0. Any thread may call it.
int octave_ws_stop_is_stopped(const octave_ws_stop *stop);

// Returns a descriptor that is readable once it is stopped, for a poll(2) of the caller's; -1 for null. It
// belongs to the stop: neither read from it nor close it.
int octave_ws_stop_fd(const octave_ws_stop *stop);

// Frees a stop; null is ignored. Configs and clients that have it keep their share of it. Not while a
// signal handler may use it.
void octave_ws_stop_free(octave_ws_stop *stop);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* OCTAVE_WS_H */
