/*
 * The threads that bring memory in, one pair for each environment, apart from those that write and flush: a log never waits
 * behind a page fault.
 *
 * A job is a range or a list of runs of a file, worked off in pieces of a chunk. Both threads take pieces of the same job when it
 * is alone, so that one reads while the other computes checksums; several jobs take turns by the piece, so that a short one does
 * not wait for a long one.
 *
 * I1 a job is on the queue while it has pieces anybody may take, and done when all are taken and none is being worked on.
 * I2 at the end of the environment the pieces being worked on are waited for (at most 2 MiB each); the rest is dropped.
 */
#include "memory.h"

#include <signal.h>
#include <stdlib.h>

void job_free(struct job *job) {
  free(job->runs);
  free(job->damaged);
  free(job);
}

static void enqueue(struct memory *memory, struct job *job) {
  job->next = NULL;
  if (memory->first == NULL) memory->first = job;
  else memory->last->next = job;
  memory->last = job;
}

/* Under mutex, with a job on the queue: takes its next piece, and puts it behind the others if there are more. */
static struct piece take(struct memory *memory) {
  struct job *job = memory->first;
  struct piece piece = {.job = job, .run = NULL, .at = job->at, .length = job->length};
  memory->first = job->next;
  job->taken++;
  if (job->kind == JOB_POPULATE && !job->prepared) {
    piece.prepare = true;
    return piece;
  }
  if (job->kind == JOB_LOAD) {
    piece.run = &job->runs[job->run_at];
    size_t left = piece.run->length - job->at;
    piece.length = left < CHUNK_BYTES ? left : CHUNK_BYTES;
    job->at += piece.length;
    if (job->at == piece.run->length) {
      job->at = 0;
      job->run_at++;
    }
    job->all_taken = job->run_at == job->run_count;
  } else if (job->kind == JOB_POPULATE) {
    /* Up to the next border of a chunk: what it asks of the kernel is for whole ones. */
    size_t left = job->length - job->at;
    size_t to_border = CHUNK_BYTES - (job->offset + job->at) % CHUNK_BYTES;
    piece.length = left < to_border ? left : to_border;
    job->at += piece.length;
    job->all_taken = job->at == job->length;
  } else {
    job->all_taken = true;
  }
  if (!job->all_taken) enqueue(memory, job);
  return piece;
}

/* Under mutex: the pieces nobody has taken are not needed any more. */
static void give_up(struct memory *memory, struct job *job, int result) {
  if (job->result == 0) job->result = result;
  if (job->all_taken) return;
  job->all_taken = true;
  struct job **at = &memory->first;
  struct job *before = NULL;
  while (*at != job) {
    before = *at;
    at = &before->next;
  }
  *at = job->next;
  if (memory->last == job) memory->last = before;
}

static void *lane_main(void *arg) {
  struct memory *memory = arg;
  struct reader reader = {.serial = 0, .fd = -1, .direct = -1};
  pthread_mutex_lock(&memory->mutex);
  for (;;) {
    while (memory->first == NULL && !memory->stopping) {
      if (reader.serial != 0) reader_close(&reader);
      pthread_cond_wait(&memory->work, &memory->mutex);
    }
    if (memory->stopping) break;
    struct piece piece = take(memory);
    struct job *job = piece.job;
    pthread_mutex_unlock(&memory->mutex);
    int result = do_piece(memory, &piece, &reader);
    pthread_mutex_lock(&memory->mutex);
    job->taken--;
    if (piece.prepare) {
      job->prepared = true;
      enqueue(memory, job);
      pthread_cond_broadcast(&memory->work);
      continue;
    }
    if (result != 0) give_up(memory, job, result);
    if (!job->all_taken || job->taken > 0) continue;
    if (reader.serial == job->serial) reader_close(&reader);
    job->next = memory->done;
    memory->done = job;
    uv_async_send(&memory->wake);
  }
  pthread_mutex_unlock(&memory->mutex);
  reader_close(&reader);
  return NULL;
}

/* Signals stay with Node's own threads. */
static void start_threads(struct memory *memory) {
  sigset_t all, before;
  sigfillset(&all);
  sigdelset(&all, SIGBUS);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  while (memory->thread_count < MEMORY_THREADS) {
    pthread_t *thread = &memory->threads[memory->thread_count];
    if (pthread_create(thread, NULL, lane_main, memory) != 0) break;
    pthread_setname_np(*thread, "pinion-memory");
    memory->thread_count++;
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* The job is ours to free once this has returned true. */
bool lane_submit(struct memory *memory, struct job *job) {
  if (memory->thread_count == 0) start_threads(memory);
  if (memory->thread_count == 0) return false;
  /* Nobody waits for memory to be unmapped, and the process may end before it is. */
  if (job->kind != JOB_UNMAP) {
    job->region->uses++;
    if (memory->running++ == 0) uv_ref((uv_handle_t *)&memory->wake);
  }
  pthread_mutex_lock(&memory->mutex);
  job->serial = ++memory->serials;
  enqueue(memory, job);
  pthread_cond_broadcast(&memory->work);
  pthread_mutex_unlock(&memory->mutex);
  return true;
}

static void finish(struct job *job) {
  struct region *region = job->region;
  if (job->kind == JOB_UNMAP) {
    region->unmapped = true;
    region_free(region);
  } else {
    region_drop(region);
  }
  job_free(job);
}

static napi_value offsets(napi_env env, const struct job *job, bool damaged) {
  napi_value array, number;
  uint32_t count = 0;
  napi_create_array(env, &array);
  if (damaged) {
    for (size_t i = 0; i < job->damaged_count; i++) {
      napi_create_double(env, (double)job->damaged[i], &number);
      napi_set_element(env, array, count++, number);
    }
  } else {
    for (size_t i = 0; i < job->run_count; i++) {
      if (job->runs[i].ends_at == SIZE_MAX) continue;
      napi_create_double(env, (double)job->runs[i].ends_at, &number);
      napi_set_element(env, array, count++, number);
    }
  }
  return array;
}

/* callback(id, result, damaged, short); what was measured is where JavaScript wanted it */
static void tell(struct memory *memory, const struct job *job) {
  napi_env env = memory->env;
  napi_value callback, receiver, arguments[4];
  napi_get_reference_value(env, memory->callback, &callback);
  napi_get_global(env, &receiver);
  napi_create_uint32(env, job->id, &arguments[0]);
  napi_create_int32(env, job->result, &arguments[1]);
  arguments[2] = offsets(env, job, true);
  arguments[3] = offsets(env, job, false);
  if (napi_make_callback(env, memory->context, receiver, callback, 4, arguments, NULL) != napi_pending_exception) return;
  napi_value error;
  napi_get_and_clear_last_exception(env, &error);
  napi_fatal_exception(env, error);
}

/* On the event loop: tells JavaScript what has finished. */
static void report(uv_async_t *wake) {
  struct memory *memory = wake->data;
  pthread_mutex_lock(&memory->mutex);
  struct job *done = memory->done;
  memory->done = NULL;
  pthread_mutex_unlock(&memory->mutex);
  struct job *first = NULL; /* in the order in which they finished */
  while (done != NULL) {
    struct job *next = done->next;
    done->next = first;
    first = done;
    done = next;
  }
  while (first != NULL) {
    struct job *job = first;
    first = job->next;
    if (job->kind != JOB_UNMAP) {
      if (--memory->running == 0) uv_unref((uv_handle_t *)wake);
      napi_handle_scope scope;
      if (napi_open_handle_scope(memory->env, &scope) == napi_ok) {
        tell(memory, job);
        napi_close_handle_scope(memory->env, scope);
      }
    }
    finish(job);
  }
}

static void drop_all(struct job *job, bool done) {
  while (job != NULL) {
    struct job *next = job->next;
    if (job->kind == JOB_UNMAP && !done) region_unmap(job->region);
    finish(job);
    job = next;
  }
}

static void closed(uv_handle_t *handle) {
  struct memory *memory = handle->data;
  napi_remove_async_cleanup_hook(memory->cleanup);
  memory_drop(memory);
}

static void clean_up(napi_async_cleanup_hook_handle handle, void *arg) {
  (void)handle;
  struct memory *memory = arg;
  pthread_mutex_lock(&memory->mutex);
  memory->stopping = true;
  pthread_cond_broadcast(&memory->work);
  pthread_mutex_unlock(&memory->mutex);
  for (unsigned i = 0; i < memory->thread_count; i++) pthread_join(memory->threads[i], NULL);
  memory->closing = true; /* what is unmapped from here on is unmapped at once */
  struct job *first = memory->first, *done = memory->done;
  memory->first = memory->last = memory->done = NULL;
  drop_all(first, false);
  drop_all(done, true);
  uv_close((uv_handle_t *)&memory->wake, closed);
}

bool lane_start(struct memory *memory, napi_value callback) {
  napi_env env = memory->env;
  napi_value name;
  uv_loop_t *loop;
  if (napi_get_uv_event_loop(env, &loop) != napi_ok || uv_async_init(loop, &memory->wake, report) != 0) return false;
  memory->wake.data = memory;
  uv_unref((uv_handle_t *)&memory->wake);
  memory->holders++;
  memory->started = true;
  napi_create_reference(env, callback, 1, &memory->callback);
  napi_create_string_utf8(env, "pinion-memory", NAPI_AUTO_LENGTH, &name);
  napi_async_init(env, NULL, name, &memory->context);
  return napi_add_async_cleanup_hook(env, clean_up, memory, &memory->cleanup) == napi_ok;
}
