//go:build kernel

package kernel

import (
	"maps"
	"slices"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// latency is the name of the fault for all packets, and owned who sets faults of
// its own.
const latency, owned = "latency", "zones"

// A place is where a fault acts: for some peers on some interface. Each place has a
// fault of its own name.
type place struct {
	fault, owner string
	// device narrows the fault to an interface; empty for all.
	device string
	// peers are those of the fault; nil for all. A ping of the pod by the first of
	// them meets the fault.
	peers []string
}

// A wanted fault is one that the agent was asked for.
type wanted struct {
	api.Fault // as the agent shows it, without an end
	// lasts is for how long it was asked for; 0 for ever.
	lasts time.Duration
	life
}

// request is how to ask for it.
func (w wanted) request() api.Fault {
	f := w.Fault
	if w.lasts > 0 {
		f.Duration = w.lasts.String()
	}
	return f
}

// sameEffect reports whether two faults do the same, so far as those of this test
// differ.
func sameEffect(a, b api.Fault) bool {
	rate := func(f api.Fault) string {
		if f.Rate == nil {
			return ""
		}
		return f.Rate.PerSecond
	}
	return a.Name == b.Name && a.Owner == b.Owner && a.Direction == b.Direction && a.Device == b.Device && len(a.Peers) == len(b.Peers) &&
		a.Protocol == b.Protocol && a.Delay == b.Delay && a.Partition == b.Partition && rate(a) == rate(b)
}

// life is when a fault ends, by the monotonic clock of the test: as the kernel's
// time since the boot says, and as the time of day does. Both are zero for one that
// does not end.
type life struct{ boot, wall time.Time }

func endsAfter(d time.Duration, now time.Time) life { return life{now.Add(d), now.Add(d)} }

func (l life) ends() bool { return !l.boot.IsZero() }

// end is when it ends: by the clock that says so first.
func (l life) end() time.Time {
	if l.wall.Before(l.boot) {
		return l.wall
	}
	return l.boot
}

// outlasts reports whether a life is longer than another.
func (l life) outlasts(m life) bool { return m.ends() && (!l.ends() || l.end().After(m.end())) }

// What an end can differ from what was asked for: the agent looks at the clocks
// every five seconds, and tries again after two if it can't end a fault.
const early, tardy = time.Second, 10 * time.Second

// mayBeOver and mustBeOver say whether the time of a fault is over.
func (l life) mayBeOver(now time.Time) bool {
	return l.ends() && now.After(l.end().Add(-early))
}

func (l life) mustBeOver(now time.Time) bool { return l.ends() && now.After(l.end().Add(tardy)) }

// faultSet is faults by name.
type faultSet map[string]wanted

// ownedBy returns those of one owner.
func (s faultSet) ownedBy(owner string) faultSet {
	owned := make(faultSet)
	for name, w := range s {
		if w.Owner == owner {
			owned[name] = w
		}
	}
	return owned
}

// with returns the set with more faults, which take the place of those of their
// names.
func (s faultSet) with(more faultSet) faultSet {
	all := maps.Clone(s)
	maps.Copy(all, more)
	return all
}

// without returns the set without some.
func (s faultSet) without(names ...string) faultSet {
	rest := maps.Clone(s)
	for _, name := range names {
		delete(rest, name)
	}
	return rest
}

// from returns the set when it is asked for now: what is new gets its end.
func (s faultSet) from(now time.Time) faultSet {
	all := maps.Clone(s)
	for name, w := range all {
		if w.lasts > 0 && !w.ends() {
			w.life = endsAfter(w.lasts, now)
			all[name] = w
		}
	}
	return all
}

// requests is how to ask for all of them.
func (s faultSet) requests() []api.Fault {
	all := []api.Fault{}
	for _, name := range s.names() {
		all = append(all, s[name].request())
	}
	return all
}

// is reports whether the agent shows just this set.
func (s faultSet) is(shown []api.Fault) bool {
	return len(shown) == len(s) && !slices.ContainsFunc(shown, func(f api.Fault) bool { return !sameEffect(f, s[f.Name].Fault) })
}

// showsAs reports whether the agent shows this set, without those faults whose time may
// be over by now.
func (s faultSet) showsAs(shown []api.Fault, now time.Time) bool {
	there := make(faultSet)
	for _, f := range shown {
		if w, is := s[f.Name]; is {
			there[f.Name] = w
		}
	}
	for name, w := range s {
		if _, is := there[name]; !is && !w.mayBeOver(now) {
			return false
		}
	}
	return there.is(shown)
}

func (s faultSet) names() []string { return slices.Sorted(maps.Keys(s)) }

// nextEnd returns the fault that ends first by itself; empty if none does.
func (s faultSet) nextEnd() (name string) {
	for _, other := range s.names() {
		if f := s[other]; f.ends() && (name == "" || f.end().Before(s[name].end())) {
			name = other
		}
	}
	return name
}

// needsDisk reports whether a change from one set to another makes a fault, or
// lengthens one. Such a change takes a stored state first.
func (s faultSet) needsDisk(next faultSet) bool {
	for name, w := range next {
		old, there := s[name]
		if !there || !sameEffect(old.Fault, w.Fault) || w.outlasts(old.life) {
			return true
		}
	}
	return false
}

// onDevice returns the faults that act on a device in a direction.
func (s faultSet) onDevice(device, direction string) []wanted {
	var all []wanted
	for _, name := range s.names() {
		if w := s[name]; (w.Device == "" || w.Device == device) && (w.Direction == direction || w.Direction == "both") {
			all = append(all, w)
		}
	}
	return all
}

// linkState is what net1 is.
type linkState string

const (
	absent linkState = "absent"
	down   linkState = "down"
	up     linkState = "up"
)

// diskState is what the disk of the state file is.
type diskState string

const (
	works    diskState = "works"
	full     diskState = "full"
	readOnly diskState = "read-only"
)

// world is what there should be now. It neither asks nor acts.
type world struct {
	faults faultSet
	// stored is what the next agent would find in the state file.
	stored faultSet
	net1   linkState
	disk   diskState
	// stepped is set once the time of day was. Then the two clocks don't agree on
	// which of two lives is longer.
	stepped bool
	// meddled is set when somebody has deleted what is ours in the kernel, until
	// the next change mends it.
	meddled bool
}

// devices returns the interfaces that are there.
func (w world) devices() []string {
	if w.net1 == absent {
		return []string{"eth0"}
	}
	return []string{"eth0", "net1"}
}

// held reports whether the kernel has a fault: on an interface that is missing
// it can't.
func (w world) held(f wanted) bool {
	return !w.meddled && slices.ContainsFunc(w.devices(), func(device string) bool { return f.Device == "" || f.Device == device })
}

// moveClock moves the time of day. What ends then ends sooner or not at all later.
func (w *world) moveClock(by time.Duration) {
	w.stepped = true
	for _, s := range []faultSet{w.faults, w.stored} {
		for name, f := range s {
			if f.ends() {
				f.wall = f.wall.Add(-by)
				s[name] = f
			}
		}
	}
}

// restart is an agent that starts with what the file has.
func (w *world) restart() {
	w.faults, w.meddled = maps.Clone(w.stored), false
}

// pingTo returns what a ping of the pod by the peer of a fault meets: that fault in
// each direction in which it acts, else the one for all packets.
func (w world) pingTo(p place) (delay time.Duration, cut bool) {
	device := p.device
	if device == "" {
		device = "eth0"
	}
	for _, direction := range []string{"egress", "ingress"} {
		var met wanted
		for _, f := range w.faults.onDevice(device, direction) {
			if f.Name == p.fault || f.Name == latency && met.Name == "" {
				met = f
			}
		}
		d, _ := time.ParseDuration(met.Delay) // empty for another impairment
		delay, cut = delay+d, cut || met.Partition
	}
	return delay, cut
}
