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

// Engine puts faults on what crosses some devices. Its methods are safe for
// concurrent use.
type Engine struct {
	policy    policy
	families  []family
	memory    uint64 // for the packets of one lane, in bytes
	scheduler *scheduler
	log       *slog.Logger

	mu sync.Mutex // one change at a time
	// applied is what this process has put in place, and where.
	applied []fault.Fault
	places  slots
}

// Lacks names the features that no kernel lets this engine have.
func Lacks() map[fault.Feature]string {
	const why = "the engine nfqueue never sees what is in a packet, and lets each go once; the engine netem can, on a kernel with sch_netem"
	return map[fault.Feature]string{
		fault.FeatureDuplicate:       why,
		fault.FeatureDuplicateBeside: why,
		fault.FeatureCorrupt:         why,
	}
}

// Open takes over what crosses the named devices. It changes nothing by
// itself; Run must follow at once, and also closes the engine. queueMemory is
// what the packets that wait for one fault may take, in bytes.
//
// The error wraps fault.ErrUnsupported if the kernel lacks something, and
// fault.ErrForeign if another process reads our queues. A table that has our
// name but was made by somebody else only shows later: Apply and State return
// fault.ErrForeign as long as it is there, and never touch it.
func Open(devices []string, exempt fault.Exemption, queueMemory uint64, log *slog.Logger) (*Engine, error) {
	has, err := detect()
	if err != nil {
		return nil, err
	}
	if err := unread(); err != nil {
		return nil, err
	}
	s, err := openSocket()
	if err != nil {
		return nil, err
	}
	return &Engine{
		policy:    policy{devices: devices, exempt: exempt, enqueue: has.enqueue},
		families:  has.families,
		memory:    queueMemory,
		scheduler: newScheduler(s),
		log:       log,
		places:    make(slots),
	}, nil
}

// unread checks that nobody reads any of our queues.
func unread() error {
	readers, err := readQueueStats()
	if err != nil {
		return err
	}
	for number := range readers {
		if number == sinkQueue || number >= egressQueue && number < ingressQueue+fault.MaxFaults {
			return fmt.Errorf("netfilter queue %d has a reader, %w", number, fault.ErrForeign)
		}
	}
	return nil
}

// Lacks is the same as the function.
func (e *Engine) Lacks() map[fault.Feature]string { return Lacks() }

// Run releases packets when they are due, until ctx ends; then it lets go of
// what waits, in order, and closes the engine. The rules stay: with nobody to
// read the queues they let everything pass, and the next process finds them.
// The error is nil unless the kernel refused to go on.
func (e *Engine) Run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, e.scheduler.close()) }()
	input, err := e.scheduler.running()
	if err != nil {
		return err
	}
	p, err := newPoller(ctx, input)
	if err != nil {
		return err
	}
	defer func() {
		e.scheduler.onKick(nil)
		err = errors.Join(err, p.close())
	}()
	e.scheduler.onKick(p.kick)

	// The thread sleeps in the kernel for as long as there is nothing to do.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for {
		wait, err := e.scheduler.turn()
		if err != nil {
			return err
		}
		if ended, err := p.wait(wait); ended || err != nil {
			return err
		}
	}
}

// Close ends an engine that Run was never called on, as the end of Run does.
func (e *Engine) Close() error { return e.scheduler.close() }
