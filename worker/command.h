/* command: the commands of the program; each lives in command_<name>.c and has one row in main.c.
 * argv[0] is the command's name; the result is the exit code (options.h). */
#ifndef WORKER_COMMAND_H
#define WORKER_COMMAND_H

int command_broker(int argc, char **argv);
int command_collect(int argc, char **argv);
int command_produce(int argc, char **argv);
int command_batch(int argc, char **argv);
int command_model(int argc, char **argv);
int command_replay(int argc, char **argv);
int command_score(int argc, char **argv);
int command_settings(int argc, char **argv);
int command_work(int argc, char **argv);

struct options;
struct replay_requests_options;
/* Runs a replay of requests and tells what came of it; for produce --from, too. */
int command_replay_joined(const struct options *options,
                          const struct replay_requests_options *replay);

#endif
