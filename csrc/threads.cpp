// A small pool of threads that shares out numbered work items.
//
// It exists because OpenMP's would be a second pool beside PyTorch's: linked from another library, its idle
// threads spin and take the cores from the first pool. Here idle threads sleep. They spin only between two jobs that
// follow each other closely and at the end of a job, for less time than it takes to wake a thread.
#include "threads.h"

#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace bakeoff {
namespace {

struct Job {
  void (*body)(void*, int64_t, int);
  void* context;
  int64_t items;
  std::atomic<int64_t> next{0};

  void work(int slot) {
    for (int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < items;) body(context, i, slot);
  }
};

// Waits about ten microseconds at most for done(); to wake a sleeping thread takes longer.
template <class Done>
void spin_until(Done done) {
  for (int i = 0; i < 1000 && !done(); ++i) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }
}

class Pool {
 public:
  void run(Job& job, int threads) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      try {
        while (static_cast<int>(workers_) < threads - 1) {
          std::thread(&Pool::serve, this, workers_ + 1).detach();
          ++workers_;
        }
      } catch (const std::system_error&) {  // the system gives no more threads: those there are do
      }
      job_ = &job;
      wanted_ = threads - 1 < workers_ ? threads - 1 : workers_;
      pending_ = wanted_;
      ++round_;
    }
    wake_.notify_all();
    job.work(0);
    spin_until([this] { return pending_ == 0; });
    std::unique_lock<std::mutex> lock(mutex_);
    done_.wait(lock, [this] { return pending_ == 0; });
    job_ = nullptr;
  }

 private:
  void serve(int slot) {
    int64_t seen = 0;
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      wake_.wait(lock, [&] { return round_ != seen && slot <= wanted_; });
      seen = round_;
      Job* job = job_;
      lock.unlock();
      job->work(slot);
      lock.lock();
      if (--pending_ == 0) done_.notify_one();
      lock.unlock();
      spin_until([&] { return round_ != seen; });
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_, done_;
  Job* job_ = nullptr;
  int workers_ = 0, wanted_ = 0;
  std::atomic<int> pending_{0};  // changed under the mutex, read without it
  std::atomic<int64_t> round_{0};
};

// Never destroyed: its threads may outlive main. A forked child has none of them and makes its own pool.
std::mutex owner_mutex;
Pool* pool = nullptr;
pid_t pool_process = 0;

}  // namespace

void parallel_for(int threads, int64_t items, void (*body)(void*, int64_t, int), void* context) {
  Job job{body, context, items};
  if (threads > items) threads = static_cast<int>(items);
  std::unique_lock<std::mutex> lock(owner_mutex, std::try_to_lock);
  if (threads <= 1 || !lock) {  // a second caller at the same time does its work alone
    job.work(0);
    return;
  }
  if (pool_process != getpid()) {
    pool = new Pool;
    pool_process = getpid();
  }
  pool->run(job, threads);
}

Scratch::Scratch(int64_t floats) : owner_(new float[static_cast<size_t>(floats) + 16]) {
  auto address = reinterpret_cast<uintptr_t>(owner_.get());
  data_ = reinterpret_cast<float*>((address + 63) & ~uintptr_t{63});
}

}  // namespace bakeoff
