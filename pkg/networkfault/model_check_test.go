package networkfault

import (
	"fmt"
	"slices"
	"strings"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
	"github.com/tidelay/tidelay/pkg/networkfault/facts"
)

// check compares what the agents do to packets with what the NetworkFaults and the
// NetworkTopology in force say.
func (m *model) check(r *rapid.T) {
	pods, faults, topologies := m.pods(), m.faults(), m.topologies()
	m.checkTopologies(r, topologies)
	for _, f := range faults {
		m.checkPhase(r, &f)
	}
	m.fleet.mu.Lock()
	defer m.fleet.mu.Unlock()
	for _, from := range pods {
		a := m.fleet.agents[facts.Addresses(&from)[0]]
		for _, to := range pods {
			if from.Name == to.Name {
				continue
			}
			got, err := a.onPacketTo(facts.Addresses(&to)[0])
			if err != nil {
				m.fatalf(r, "%s: %v", from.Name, err)
			}
			want := asked(faults, from.Name, to.Name)
			if !want.partition {
				want.delay += askedByZones(topologies, from.Name, to.Name)
			}
			if got != want {
				m.fatalf(r, "from %s to %s: %+v, want %+v by %s and %+v", from.Name, to.Name, got, want, describe(faults), topologies)
			}
		}
		for _, f := range a.holds() {
			if f.Name == "by-hand" {
				m.fatalf(r, "%s still holds what was set by hand", from.Name)
			}
		}
	}
}

// checkDeath has an agent die with its faults and come back, of which kubelet tells or
// not. Meanwhile no status may count it, and nothing else may change.
func (m *model) checkDeath(r *rapid.T) {
	before, pods := m.faults(), m.pods()
	pod := pods[rapid.IntRange(0, len(pods)-1).Draw(r, "agent that dies")].Name
	m.onAgentOf(pod, func(a *madeUp) { a.way, a.held = dies, nil })
	words := pod + " does not answer"
	if rapid.Bool().Draw(r, "kubelet tells") {
		words = pod + ": its agent does not run"
		m.setRunning(pod, false)
		time.Sleep(time.Second)
	} else {
		time.Sleep(75 * time.Second) // a renewal, and patience
	}
	synctest.Wait()
	for _, f := range m.faults() {
		i := slices.IndexFunc(before, func(b v1alpha1.NetworkFault) bool { return b.Name == f.Name })
		if f.Status.Phase != before[i].Status.Phase && f.Status.Reason != decide.ReasonExpired {
			m.fatalf(r, "%s is %+v after an agent died, and was %+v", f.Name, f.Status, before[i].Status)
		}
		if f.Status.Phase != v1alpha1.Running {
			continue
		}
		var held, total int
		if _, err := fmt.Sscanf(f.Status.Applied, "%d/%d", &held, &total); err != nil {
			m.fatalf(r, "%s: applied %q: %v", f.Name, f.Status.Applied, err)
		}
		want, missing := decide.ReasonApplied, 0
		if slices.ContainsFunc(pods, func(p corev1.Pod) bool { return asked([]v1alpha1.NetworkFault{f}, pod, p.Name) != onPacket{} }) {
			want, missing = decide.ReasonNotApplied, 1
		}
		if f.Status.Reason != want || held != total-missing || missing > 0 && !strings.Contains(f.Status.Message, words) {
			m.fatalf(r, "%s is %+v without the agent of %s, want %s", f.Name, f.Status, pod, want)
		}
	}
	m.setRunning(pod, true)
	m.settle()
	m.check(r)
}

// setRunning has kubelet say whether a pod's agent runs. Each time that it does it is a
// new container.
func (m *model) setRunning(name string, is bool) {
	change(m.world, name, &corev1.Pod{}, func(p *corev1.Pod) {
		agent := &p.Status.ContainerStatuses[1]
		agent.State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}
		if is {
			agent.State, agent.ContainerID = corev1.ContainerState{}, agent.ContainerID+"x"
		}
	})
	m.trigger()
}

// checkPhase checks that a fault is in force, unless something in it says why not.
func (m *model) checkPhase(r *rapid.T, f *v1alpha1.NetworkFault) {
	s := &f.Status
	switch {
	case s.ObservedGeneration != f.Generation:
		m.fatalf(r, "%s: generation %d is not seen: %+v", f.Name, f.Generation, s)
	case s.Phase == v1alpha1.Running && s.Reason != decide.ReasonApplied:
		m.fatalf(r, "%s is not applied: %+v", f.Name, s)
	case s.Phase == v1alpha1.Running && s.ExpiresAt != nil && !s.ExpiresAt.After(time.Now()):
		m.fatalf(r, "%s runs after its end: %+v", f.Name, s)
	case s.Phase == v1alpha1.Paused && !f.Spec.Paused, s.Phase == v1alpha1.Pending:
		m.fatalf(r, "%s is %s: %+v", f.Name, s.Phase, s)
	case s.Reason == decide.ReasonNobodySelected && f.Spec.From[0] == "all" && f.Spec.To[0] == "others":
	case s.Phase == v1alpha1.Refused && s.Reason != decide.ReasonProtected && s.Reason != decide.ReasonAgentRefused:
		m.fatalf(r, "%s is refused: %+v", f.Name, s)
	}
}

// asked returns what faults say about packets from a pod to another, by what their specs
// say and which pods their statuses name.
func asked(faults []v1alpha1.NetworkFault, from, to string) onPacket {
	var sum onPacket
	for _, f := range faults {
		if f.Status.Phase != v1alpha1.Running {
			continue
		}
		isFrom := func(pod string) bool { return selects(&f, f.Spec.From, pod) }
		isTo := func(pod string) bool {
			return selects(&f, f.Spec.To, pod) && (f.Spec.To[0] != "others" || !isFrom(pod))
		}
		isForth, isBack := isFrom(from) && isTo(to), isFrom(to) && isTo(from)
		if !isForth && (!isBack || f.Spec.OneWay) {
			continue
		}
		sum.partition = sum.partition || f.Spec.Partition
		each, _ := time.ParseDuration(string(f.Spec.Delay))
		sum.delay += each + halfOf(string(f.Spec.RTT), from < to)
	}
	if sum.partition {
		sum.delay = 0
	}
	return sum
}

// selects reports whether one of the selectors that the model uses selects a pod.
func selects(f *v1alpha1.NetworkFault, selectors []v1alpha1.Selector, pod string) bool {
	text := string(selectors[0])
	switch {
	case text == "all" || text == "others":
		return true
	case strings.HasSuffix(text, "(leader)") || strings.HasSuffix(text, "(random)"):
		return slices.ContainsFunc(f.Status.Selected, func(s v1alpha1.SelectedPod) bool { return s.Selector == text && s.Pod == pod })
	case text == "tidb(0)":
		return pod == "basic-tidb-0"
	default:
		return strings.HasPrefix(pod, "basic-"+text+"-")
	}
}

func describe(faults []v1alpha1.NetworkFault) string {
	var all []string
	for _, f := range faults {
		all = append(all, fmt.Sprintf("%s %v->%v %s (%s %s)", f.Name, f.Spec.From, f.Spec.To, f.Status.What, f.Status.Phase, f.Status.Reason))
	}
	return strings.Join(all, "; ")
}

// fatalf fails. It tells at once, because rapid may not see the same again: the order of
// goroutines is not among what it draws.
func (m *model) fatalf(r *rapid.T, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	m.t.Log(text)
	r.Fatal(text)
}
