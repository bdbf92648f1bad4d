// A fixed team of threads with *static* partition: task i of n always means the same work, whoever
// runs it, and no reduction ever crosses tasks. So results never depend on the number of threads.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace waggle {

class ThreadPool {
 public:
  // threads >= 1; the calling thread counts as one of them.
  explicit ThreadPool(unsigned threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  unsigned threads() const { return static_cast<unsigned>(workers_.size()) + 1; }

  // Calls body(task) for every task in [0, tasks): thread t runs the contiguous range [tasks*t/n,
  // tasks*(t+1)/n). Returns when all are done. One caller at a time; a call from inside `body` runs
  // inline. `body` must not throw.
  void Run(std::size_t tasks, const std::function<void(std::size_t task)>& body);

  // The same, handing each thread its whole range at once: body(begin, end, thread).
  void RunRanges(
      std::size_t tasks,
      const std::function<void(std::size_t begin, std::size_t end, unsigned thread)>& body);

 private:
  void WorkerLoop(unsigned thread);

  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable work_ready_, work_done_;
  const std::function<void(std::size_t, std::size_t, unsigned)>* body_ = nullptr;
  std::size_t tasks_ = 0;
  unsigned long generation_ = 0;
  unsigned pending_ = 0;
  bool stopping_ = false;
};

// Number of threads this process may use (affinity aware), at least 1.
unsigned HardwareThreads();

}  // namespace waggle
