/* Threads that sleep while there is nothing to do: they never spin, so waiting costs busy neighbours nothing.
 *
 * One caller at a time has the threads; others, and a process forked since, do all parts themselves. */

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "internal.h"

typedef struct {
    pool *pool;
    int index;
    pthread_t thread;
} worker;

struct pool {
    int threads;                   /* the caller included */
    int started;                   /* workers */
    pid_t process;
    pthread_mutex_t busy, lock;
    pthread_cond_t start, done;
    uint64_t round;
    int working, leaving;
    int64_t next, count;
    task run;
    void *data;
    worker *workers;
};

static void work_on(pool *p, int thread) {
    for (;;) {
        int64_t part = __atomic_fetch_add(&p->next, 1, __ATOMIC_RELAXED);
        if (part >= p->count)
            return;
        p->run(p->data, part, thread);
    }
}

static void *serve(void *argument) {
    worker *w = argument;
    pool *p = w->pool;
    uint64_t seen = 0;
    pthread_mutex_lock(&p->lock);
    while (!p->leaving) {
        if (p->round == seen) {
            pthread_cond_wait(&p->start, &p->lock);
            continue;
        }
        seen = p->round;
        pthread_mutex_unlock(&p->lock);
        work_on(p, w->index);
        pthread_mutex_lock(&p->lock);
        if (--p->working == 0)
            pthread_cond_signal(&p->done);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

pool *pool_new(int threads) {
    pool *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->threads = threads < 1 ? 1 : threads;
    p->process = getpid();
    p->workers = calloc((size_t)p->threads, sizeof *p->workers);
    pthread_mutex_init(&p->busy, NULL);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->start, NULL);
    pthread_cond_init(&p->done, NULL);
    for (int i = 0; p->workers && i < p->threads - 1; i++) {
        p->workers[i] = (worker){p, i + 1, 0};
        if (pthread_create(&p->workers[i].thread, NULL, serve, p->workers + i))
            break;
        p->started++;
    }
    return p;
}

void pool_free(pool *p) {
    if (!p)
        return;
    if (p->process == getpid()) { /* a forked process has none of the threads */
        pthread_mutex_lock(&p->lock);
        p->leaving = 1;
        pthread_cond_broadcast(&p->start);
        pthread_mutex_unlock(&p->lock);
        for (int i = 0; i < p->started; i++)
            pthread_join(p->workers[i].thread, NULL);
    }
    free(p->workers);
    free(p);
}

int pool_threads(const pool *p) { return p->threads; }

void pool_run(pool *p, int64_t count, task run, void *data) {
    int shared = p->started && count > 1 && p->process == getpid() && !pthread_mutex_trylock(&p->busy);
    if (!shared) {
        for (int64_t part = 0; part < count; part++)
            run(data, part, 0);
        return;
    }
    pthread_mutex_lock(&p->lock);
    p->run = run;
    p->data = data;
    p->next = 0;
    p->count = count;
    p->working = p->started;
    p->round++;
    pthread_cond_broadcast(&p->start);
    pthread_mutex_unlock(&p->lock);
    work_on(p, 0);
    pthread_mutex_lock(&p->lock);
    while (p->working)
        pthread_cond_wait(&p->done, &p->lock);
    pthread_mutex_unlock(&p->lock);
    pthread_mutex_unlock(&p->busy);
}
