package netem

import (
	"fmt"

	"github.com/tidelay/tidelay/pkg/fault"
)

// Adopt returns the faults that an earlier process left in the kernel, as far
// as they can be told from the kernel alone:
//
//   - none, if nothing of ours is there;
//   - the fault "latency", if every interface has exactly a constant delay of
//     all that leaves it.
//
// For anything else, which only a state file could explain, the error wraps
// fault.ErrLeftover.
func (e *Engine) Adopt() ([]fault.Fault, error) {
	k, err := e.dial()
	if err != nil {
		return nil, err
	}
	defer k.close()
	found, err := e.read(k)
	if err != nil {
		return nil, err
	}
	var adopted *fault.Fault
	with, without := 0, 0 // interfaces
	for _, p := range e.attachPoints() {
		if _, there := found[p.device]; !there {
			continue
		}
		t := found.tree(p)
		if !t.ours() {
			if p.direction == fault.Egress {
				without++
			}
			continue
		}
		f, constant := t.constantDelay()
		if !constant || adopted != nil && !adopted.SameEffect(f) {
			return nil, fmt.Errorf("%s: %w", p, fault.ErrLeftover)
		}
		adopted = &f
		with++
	}
	if with > 0 && without > 0 {
		return nil, fmt.Errorf("only some interfaces have faults: %w", fault.ErrLeftover)
	}
	if adopted == nil {
		return nil, nil
	}
	return []fault.Fault{*adopted}, nil
}

// constantDelay reports whether a tree does nothing but delay all packets that
// leave, the exempt ones excepted, and returns that as a fault.
func (t foundTree) constantDelay() (fault.Fault, bool) {
	bands := t.bands()
	if t.direction != fault.Egress || t.foreignInside != "" || len(bands) != 1 {
		return fault.Fault{}, false
	}
	for f := range families {
		if !sendsAllTo(t.filters(f), bands[0]) {
			return fault.Fault{}, false
		}
	}
	found := t.netems[bands[0]].setting.options
	onlyDelay := options{delay: found.delay, limit: found.limit}
	if found != onlyDelay || found.delay < fault.MinDelay || found.delay > fault.MaxDelay {
		return fault.Fault{}, false
	}
	return fault.Fault{Name: fault.Latency, Match: fault.Match{Direction: fault.Egress}, Impairment: fault.Impairment{Delay: found.delay}}, true
}

// sendsAllTo reports whether the last filter sends all packets to a band and
// all others before it are exemptions.
func sendsAllTo(list []filter, band uint8) bool {
	last := len(list) - 1
	if last < 0 || len(list[last].keys) > 0 || list[last].band != band {
		return false
	}
	for _, exemption := range list[:last] {
		if exemption.band != bandClean {
			return false
		}
	}
	return true
}
