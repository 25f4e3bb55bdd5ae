/* Listens in a thread with a stack of 64 KiB, until the first event; SIGPIPE has its default action. */
#include <pthread.h>
#include <stdio.h>

#include <octave_ws.h>

static int asked;

static int token(char *token, size_t size, void *user)
{
    /* At first there is none. */
    if (asked++ == 0)
        return -1;
    return snprintf(token, size, "%s", (const char *) user);
}

static void count(int level, const char *line, void *user)
{
    (void) level;
    (void) line;
    ++*(int *) user;
}

static void *run(void *arguments)
{
    char **argv = arguments;
    octave_ws_config *config = octave_ws_config_new();
    octave_ws_client *client = NULL;
    const octave_ws_item *item;
    int code, failed = 0, lines = 0;
    FILE *file = fopen(argv[2], "r");
    static char pem[8192];
    size_t len = file != NULL ? fread(pem, 1, sizeof pem, file) : 0;

    if (file != NULL)
        fclose(file);
    octave_ws_config_endpoint(config, argv[1]);
    octave_ws_config_extra_ca_pem(config, (const unsigned char *) pem, len);
    octave_ws_config_credentials(config, argv[3], argv[4], NULL);
    octave_ws_config_token_source(config, token, argv[5]);
    octave_ws_config_retry_for(config, 30000);
    octave_ws_config_log(config, OCTAVE_WS_LOG_WARN, count, &lines);
    if (octave_ws_config_ip_version(config, 5) != OCTAVE_WS_EINVAL
        || octave_ws_client_new(NULL, &client) != OCTAVE_WS_EINVAL
        || octave_ws_client_next(NULL, 0, &item) != OCTAVE_WS_EINVAL)
        return NULL;
    code = octave_ws_client_new(config, &client);
    if (code != OCTAVE_WS_OK)
        fprintf(stderr, "error: %s\n", octave_ws_config_error(config));
    octave_ws_config_free(config);
    if (code == OCTAVE_WS_OK && octave_ws_client_subscribe(client, "") == OCTAVE_WS_EINVAL)
        code = octave_ws_client_subscribe(client, argv[6]);
    while (code == OCTAVE_WS_OK
           && (code = octave_ws_client_next(client, 10000, &item)) == OCTAVE_WS_OK) {
        failed += item->kind == OCTAVE_WS_DISCONNECTED && item->code == OCTAVE_WS_ECONFIG;
        if (item->kind == OCTAVE_WS_EVENT && item->id.len > 0)
            break;
    }
    if (code != OCTAVE_WS_OK)
        fprintf(stderr, "error: %d %s\n", code, octave_ws_client_error(client));
    if (octave_ws_client_close(client) == OCTAVE_WS_OK && code == OCTAVE_WS_OK && failed == 1
        && lines == 1)
        puts("done");
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_attr_t attributes;
    pthread_t thread;

    (void) argc;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 64 * 1024);
    if (pthread_create(&thread, &attributes, run, argv) != 0)
        return 1;
    pthread_join(thread, NULL);
    return 0;
}
