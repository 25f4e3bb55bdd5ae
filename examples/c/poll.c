/*
 * Prints the events of streams in a loop of its own, beside another descriptor: it ends with standard
 * input.
 *
 *   cc poll.c $(pkg-config --cflags --libs octave-ws) -o poll
 *   sleep 10 | octave-sim -- ./poll /demo/devices/gw1/temperature
 */
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include <octave_ws.h>

/* Takes all that the client has now. Returns the code after it. */
static int take(octave_ws_client *client)
{
    const octave_ws_item *item;
    int code;

    while ((code = octave_ws_client_next(client, 0, &item)) == OCTAVE_WS_OK) {
        if (item->kind == OCTAVE_WS_EVENT) {
            printf("%.*s\n", (int) item->text.len, item->text.data);
            fflush(stdout);
        } else if (item->kind == OCTAVE_WS_DISCONNECTED) {
            fprintf(stderr, "%.*s; trying again in %ld ms\n", (int) item->text.len,
                    item->text.data, (long) item->after_ms);
        }
    }
    return code;
}

int main(int argc, char **argv)
{
    octave_ws_config *config = octave_ws_config_from_env(NULL);
    octave_ws_client *client = NULL;
    struct pollfd fds[2];
    char input[256];
    int code, i;

    octave_ws_config_retry_for(config, -1);
    /* No call waits for the network. */
    octave_ws_config_connect_in_background(config, 1);
    code = octave_ws_client_new(config, &client);
    if (code != OCTAVE_WS_OK)
        fprintf(stderr, "error: %s\n", octave_ws_config_error(config));
    octave_ws_config_free(config);
    if (client == NULL)
        return 1;

    for (i = 1; i < argc; i++)
        octave_ws_client_subscribe(client, argv[i]);
    while ((code = take(client)) == OCTAVE_WS_TIMEOUT) {
        fds[0].fd = octave_ws_client_fd(client);
        fds[0].events = octave_ws_client_events(client);
        fds[1].fd = STDIN_FILENO;
        fds[1].events = POLLIN;
        fds[0].revents = fds[1].revents = 0;
        poll(fds, 2, octave_ws_client_wait_ms(client));
        if (fds[1].revents != 0 && read(STDIN_FILENO, input, sizeof input) <= 0)
            break;
    }
    if (code != OCTAVE_WS_TIMEOUT)
        fprintf(stderr, "error: %s\n", octave_ws_client_error(client));
    octave_ws_client_close(client);
    return code == OCTAVE_WS_TIMEOUT ? 0 : 1;
}
