//! The one worker pool of the crate, results in order, the number of threads, values made once,
//! and stopping long work.
//!
//! Workers outlive the call that starts them, because starting or waking a thread takes as long as
//! encoding tens of kilobytes. A caller always does a share of the work itself and never waits for a
//! worker that has not begun, so that busy workers, nested calls and forks cannot block it.

mod affinity;
mod count;
mod fork_once;
mod interrupt;
mod order;
mod pool;
mod signals;
mod slot;

pub use count::{available, requested};
pub(crate) use fork_once::ForkOnce;
pub(crate) use interrupt::check_interrupt;
pub use interrupt::set_interrupt_check;
pub use order::{in_order, ReusableBuffers};
pub(crate) use pool::run;
pub use pool::stop_idle;
