/* With a library whose octave_ws_client_ping() panics: cargo rustc ... -- --cfg octave_ws_panic. */
#include <stdio.h>
#include <string.h>

#include <octave_ws.h>

int main(void)
{
    octave_ws_config *config = octave_ws_config_new();
    octave_ws_client *client = NULL;
    const octave_ws_item *item;
    int code;

    octave_ws_config_credentials(config, "demo", NULL, "token");
    if (octave_ws_client_new(config, &client) != OCTAVE_WS_OK)
        return 1;
    code = octave_ws_client_ping(client);
    printf("%d %s\n", code, octave_ws_client_error(client));
    if (code != OCTAVE_WS_EPANIC || octave_ws_client_next(client, 0, &item) != OCTAVE_WS_EPANIC
        || item != NULL || octave_ws_client_wait_ms(client) != 0
        || strstr(octave_ws_client_error(client), "a bug") == NULL
        || octave_ws_client_close(client) != OCTAVE_WS_EPANIC)
        return 1;
    if (octave_ws_client_new(config, &client) != OCTAVE_WS_OK)
        return 1;
    octave_ws_client_ping(client);
    octave_ws_client_free(client);
    octave_ws_config_free(config);
    return 0;
}
