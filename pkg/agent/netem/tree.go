package netem

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink"

	"github.com/tidelay/tidelay/pkg/agent/fault"
)

// Handles and classes of the tree, fixed so that it is recognised as ours
// after a crash and by people in `tc qdisc show`.
const (
	handleRoot  uint32 = 0x7de1 << 16
	bandClean          = handleRoot | 1
	bandDelayed        = handleRoot | 2
	handleNetem uint32 = 0x7de2 << 16
	handleClean uint32 = 0x7de3 << 16
)

// cleanLimit is the clean band's queue in packets. It is set because the
// kernel would otherwise take the interface's txqueuelen, which is 0 on many
// container interfaces and leaves room for a single packet.
const cleanLimit = 1_000

// tree is what stands on one interface.
type tree struct {
	// foreign is the root qdisc when somebody else put it there.
	foreign *qdisc
	// root is nil when it is not ours.
	root *qdisc
	// clean and netem are nil while the tree is half built.
	clean, netem *qdisc
	filters      []filter
}

// readTree reads what stands on an interface. It fails with fault.ErrForeign
// when somebody else changed the inside of our tree.
func readTree(link int) (tree, error) {
	listed, err := listQdiscs(link)
	if err != nil {
		return tree{}, fmt.Errorf("list qdiscs: %w", err)
	}
	var t tree
	for _, q := range listed {
		if err := t.place(q); err != nil {
			return tree{}, err
		}
	}
	if t.root == nil {
		return t, nil
	}
	t.filters, err = listFilters(link)
	return t, err
}

// place puts a qdisc where it belongs in the tree, if it does. A handle of 0
// is the kernel's own default, which nobody chose; what hangs elsewhere, as
// ingress and clsact do, is not on the way out.
func (t *tree) place(q qdisc) error {
	if q.handle == 0 {
		return nil
	}
	switch q.parent {
	case netlink.HANDLE_ROOT:
		if q.kind == "prio" && q.handle == handleRoot {
			t.root = &q
		} else {
			t.foreign = &q
		}
		return nil
	case bandClean:
		if q.kind == "pfifo" && q.handle == handleClean {
			t.clean = &q
			return nil
		}
	case bandDelayed:
		if q.kind == "netem" && q.handle == handleNetem {
			t.netem = &q
			return nil
		}
	default:
		return nil
	}
	return fmt.Errorf("qdisc %s inside %s: %w", q, netlink.HandleStr(handleRoot), fault.ErrForeign)
}

// delays reports whether the tree has packets delayed: both switch filters
// lead into a netem.
func (t tree) delays() bool {
	if t.root == nil || t.netem == nil {
		return false
	}
	on := slices.DeleteFunc(slices.Clone(t.filters), func(f filter) bool { return f.band != bandDelayed })
	return sameFilters(on, switchFilters())
}

// build brings the interface from t to a tree that delays as o says, in an
// order in which every step leaves a pod that works: packets are led into the
// netem only when it is ready for them.
func (t tree) build(link int, o options, exempt fault.Exemption) error {
	if t.foreign != nil {
		return fmt.Errorf("root qdisc %s: %w; remove it first if it may go", t.foreign, fault.ErrForeign)
	}
	if t.root == nil {
		if err := addQdisc(link, qdisc{kind: "prio", handle: handleRoot, parent: netlink.HANDLE_ROOT, options: prioOptions()}); err != nil {
			return fmt.Errorf("add root qdisc prio: %w", err)
		}
	}
	if t.clean == nil {
		if err := replaceQdisc(link, qdisc{kind: "pfifo", handle: handleClean, parent: bandClean, options: fifoOptions()}); err != nil {
			return fmt.Errorf("add qdisc pfifo: %w", err)
		}
	}
	if err := replaceQdisc(link, qdisc{kind: "netem", handle: handleNetem, parent: bandDelayed, options: o.encode()}); err != nil {
		return fmt.Errorf("set qdisc netem: %w", err)
	}
	want := append(exemptFilters(exempt), switchFilters()...)
	if sameFilters(t.filters, want) {
		return nil
	}
	if err := t.deleteAllFilters(link); err != nil {
		return err
	}
	for _, f := range want {
		if err := addFilter(link, f); err != nil {
			return err
		}
	}
	return nil
}

// verify compares a tree that was read back with what was asked for.
func (t tree) verify(want options, exempt fault.Exemption) error {
	if !t.delays() || t.clean == nil {
		return errors.New("read back: the kernel does not hold the tree")
	}
	if !sameFilters(t.filters, append(exemptFilters(exempt), switchFilters()...)) {
		return errors.New("read back: the kernel holds other filters")
	}
	got, err := decode(t.netem.options)
	if err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	// A kernel without 64-bit times rounds down to a tick.
	if short := want.delay - got.delay; short < 0 || short >= tick || got.limit != want.limit {
		return fmt.Errorf("read back: the kernel holds delay %s limit %d, asked for delay %s limit %d", got.delay, got.limit, want.delay, want.limit)
	}
	return nil
}

// deleteAllFilters switches the fault off first, and only then forgets what
// was exempt from it.
func (t tree) deleteAllFilters(link int) error {
	lastFirst := slices.Backward(sorted(t.filters))
	var done uint16
	for _, f := range lastFirst {
		if f.priority == done {
			continue
		}
		if err := deleteFilters(link, f); err != nil {
			return err
		}
		done = f.priority
	}
	return nil
}

// prioOptions is struct tc_prio_qopt: two bands, and every packet that no
// filter matches in the first, whatever its TOS says.
func prioOptions() []byte {
	options := make([]byte, 20)
	binary.NativeEndian.PutUint32(options, 2)
	return options
}

// fifoOptions is struct tc_fifo_qopt.
func fifoOptions() []byte {
	return binary.NativeEndian.AppendUint32(nil, cleanLimit)
}
