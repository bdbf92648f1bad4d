#include "base/thread_pool.h"

#include <sched.h>

#include "base/check.h"
#include "base/float_env.h"

namespace waggle {
namespace {
thread_local bool inside_pool = false;
}

ThreadPool::ThreadPool(unsigned threads) {
  Check(threads >= 1, "a pool has at least the calling thread");
  for (unsigned t = 1; t < threads; ++t) workers_.emplace_back([this, t] { WorkerLoop(t); });
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  work_ready_.notify_all();
  for (auto& worker : workers_) worker.join();
}

void ThreadPool::Run(std::size_t tasks, const std::function<void(std::size_t)>& body) {
  RunRanges(tasks, [&](std::size_t begin, std::size_t end, unsigned) {
    for (std::size_t task = begin; task < end; ++task) body(task);
  });
}

void ThreadPool::RunRanges(std::size_t tasks,
                           const std::function<void(std::size_t, std::size_t, unsigned)>& body) {
  if (tasks == 0) return;
  if (workers_.empty() || inside_pool || tasks == 1) {
    body(0, tasks, 0);
    return;
  }
  {
    std::lock_guard lock(mutex_);
    body_ = &body;
    tasks_ = tasks;
    pending_ = static_cast<unsigned>(workers_.size());
    ++generation_;
  }
  work_ready_.notify_all();
  inside_pool = true;
  body(0, tasks / threads(), 0);
  inside_pool = false;
  std::unique_lock lock(mutex_);
  work_done_.wait(lock, [this] { return pending_ == 0; });
  body_ = nullptr;
}

void ThreadPool::WorkerLoop(unsigned thread) {
  CheckFloatEnvironment();
  inside_pool = true;
  unsigned long seen = 0;
  for (;;) {
    const std::function<void(std::size_t, std::size_t, unsigned)>* body = nullptr;
    std::size_t tasks = 0;
    {
      std::unique_lock lock(mutex_);
      work_ready_.wait(lock, [&] { return stopping_ || generation_ != seen; });
      if (stopping_) return;
      seen = generation_;
      body = body_;
      tasks = tasks_;
    }
    const std::size_t n = threads();
    const std::size_t begin = tasks * thread / n, end = tasks * (thread + 1) / n;
    if (begin < end) (*body)(begin, end, thread);
    {
      std::lock_guard lock(mutex_);
      --pending_;
    }
    work_done_.notify_one();
  }
}

unsigned HardwareThreads() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0) {
    return static_cast<unsigned>(CPU_COUNT(&set));
  }
  return 1;
}

}  // namespace waggle
