/*
 * Prints the events of streams, one Event object per line, until SIGTERM or SIGINT.
 *
 *   cc listen.c $(pkg-config --cflags --libs octave-ws) -o listen
 *   octave-sim -- ./listen /demo/devices/gw1/temperature
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <octave_ws.h>

static octave_ws_stop *stop;

static void on_signal(int signal)
{
    (void) signal;
    octave_ws_stop_now(stop);
}

static void log_line(int level, const char *line, void *user)
{
    (void) level;
    (void) user;
    fprintf(stderr, "%s\n", line);
}

static void print(const octave_ws_item *item)
{
    switch (item->kind) {
    case OCTAVE_WS_EVENT:
        printf("%.*s\n", (int) item->text.len, item->text.data);
        fflush(stdout);
        break;
    case OCTAVE_WS_ACK:
        fprintf(stderr, "%.*s: %s\n", (int) item->stream.len, item->stream.data,
                item->code == OCTAVE_WS_OK ? "granted" : octave_ws_strerror(item->code));
        break;
    case OCTAVE_WS_GAP:
        fprintf(stderr, "events may be missing: %.*s\n", (int) item->text.len, item->text.data);
        break;
    default:
        break;
    }
}

int main(int argc, char **argv)
{
    octave_ws_config *config;
    octave_ws_client *client = NULL;
    const octave_ws_item *item;
    struct sigaction action;
    int code, i;

    if (octave_ws_version() != OCTAVE_WS_VERSION)
        fprintf(stderr, "linked with version %s\n", octave_ws_version_string());
    stop = octave_ws_stop_new();
    if (stop == NULL) {
        fprintf(stderr, "no descriptors left\n");
        return 1;
    }
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);

    config = octave_ws_config_from_env(NULL);
    octave_ws_config_retry_for(config, -1);
    octave_ws_config_stop(config, stop);
    octave_ws_config_log(config, OCTAVE_WS_LOG_WARN, log_line, NULL);
    code = octave_ws_client_new(config, &client);
    if (code != OCTAVE_WS_OK)
        fprintf(stderr, "error: %s\n", octave_ws_config_error(config));
    octave_ws_config_free(config);

    for (i = 1; i < argc && code == OCTAVE_WS_OK; i++)
        code = octave_ws_client_subscribe(client, argv[i]);
    while (code >= 0 && code != OCTAVE_WS_CLOSED) {
        code = octave_ws_client_next(client, -1, &item);
        if (code == OCTAVE_WS_OK)
            print(item);
    }
    if (code < 0 && code != OCTAVE_WS_ESTOPPED && client != NULL)
        fprintf(stderr, "error: %s\n", octave_ws_client_error(client));
    octave_ws_client_close(client);
    octave_ws_stop_free(stop);
    return code == OCTAVE_WS_ESTOPPED ? 0 : 1;
}
