//go:build linux

package nfqueue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"

	"github.com/tidelay/tidelay/pkg/fault"
)

// Engine applies faults to the packets that cross some network interfaces. Its
// methods are safe for concurrent use.
type Engine struct {
	policy    policy
	families  []family
	memory    uint64 // for the waiting packets of one queue, in bytes
	poller    *poller
	scheduler *scheduler
	flags     *flagClearer
	log       *slog.Logger

	mu      sync.Mutex // one change at a time
	rules   ruleset    // of the kernel
	chains  chainCache
	applied layout // what this process has put into the kernel
	closed  bool   // nothing may be read or changed any more
}

// Lacks returns the features that this engine can't do on any kernel, with the
// reason.
func Lacks() map[fault.Feature]string {
	const why = "the engine nfqueue never sees what is in a packet, and lets each go once; the engine netem can, on a kernel with sch_netem"
	return map[fault.Feature]string{
		fault.FeatureDuplicate:       why,
		fault.FeatureDuplicateBeside: why,
		fault.FeatureCorrupt:         why,
	}
}

// Open returns an engine for the packets that cross the devices of a scope. It
// changes no rule and binds no queue; Apply does. Call Run right after Open,
// since only Run releases packets; it also closes the engine. queueMemory is
// for the waiting packets of one fault in one direction, in bytes.
//
// The error wraps fault.ErrUnsupported if the kernel lacks something, and
// fault.ErrForeign if another process reads one of our queues. Open does not
// look for a table of our name that somebody else made. As long as there is one,
// Apply returns fault.ErrForeign and leaves it alone.
func Open(scope fault.Scope, queueMemory uint64, log *slog.Logger) (*Engine, error) {
	features, err := detect()
	if err != nil {
		return nil, err
	}
	if err := checkQueuesFree(); err != nil {
		return nil, err
	}
	s, err := openSocket(receiveBuffer)
	if err != nil {
		return nil, err
	}
	flags, err := openFlagClearer()
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	p, err := newPoller(s.fd, flags.socket.fd)
	if err != nil {
		return nil, errors.Join(err, s.close(), flags.close())
	}
	return &Engine{
		policy:    policy{devices: scope.Devices, exempt: scope.Exempt, queueStatement: features.queueStatement},
		families:  features.families,
		rules:     ruleset{families: features.families},
		chains:    newChainCache(),
		memory:    queueMemory,
		poller:    p,
		scheduler: newScheduler(s, p.wake),
		flags:     flags,
		log:       log,
	}, nil
}

// checkQueuesFree returns fault.ErrForeign if any of our queues has a reader.
func checkQueuesFree() error {
	stats, err := readQueueStats()
	if err != nil {
		return err
	}
	for number := range stats {
		if number == sinkQueue || number == flagQueue || number >= egressQueue && number < ingressQueue+fault.MaxFaults {
			return fmt.Errorf("netfilter queue %d has a reader, %w", number, fault.ErrForeign)
		}
	}
	return nil
}

// Lacks is the function Lacks, as a method that every engine has.
func (e *Engine) Lacks() map[fault.Feature]string { return Lacks() }

// SetScope makes the next change act on other interfaces, or exempt other
// traffic.
func (e *Engine) SetScope(scope fault.Scope) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.policy.devices, e.policy.exempt = scope.Devices, scope.Exempt
}

// Run releases packets when they are due, until ctx ends. Then it releases all
// packets that wait, in order, and closes the engine. The rules stay in the
// kernel: without a reader of the queues they let everything pass, and the next
// process finds them. The error is nil unless a system call failed.
func (e *Engine) Run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, e.Close()) }()
	ctx, stop := context.WithCancel(ctx)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer stop()
	defer context.AfterFunc(ctx, e.poller.wake)()
	watching.Go(func() { e.watch(ctx) })

	// The thread sleeps in the kernel as long as there is nothing to do.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for ctx.Err() == nil {
		wait, err := e.scheduler.process()
		if err != nil {
			return err
		}
		if _, err := e.flags.process(); err != nil {
			return err
		}
		if err := e.poller.wait(wait); err != nil {
			return err
		}
	}
	return nil
}

// Close ends an engine that Run was never called on, as the end of Run does.
func (e *Engine) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	return errors.Join(e.flags.passAll(), e.scheduler.close(), e.flags.close(), e.poller.close(), e.rules.close())
}

// checkOpen returns errClosed after Close. Whoever still has the engine then would
// open another connection to the kernel, and find rules in force that no one serves.
func (e *Engine) checkOpen() error {
	if e.closed {
		return errClosed
	}
	return nil
}
