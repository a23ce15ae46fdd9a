//go:build apiserver

package apiserver

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/e2e/madeup"
	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
)

// isVerified waits until what was measured of a NetworkFault is "6/6 True InTolerance", and
// the condition's message mentions words.
func (d *database) isVerified(name, want string, words ...string) *v1alpha1.NetworkFault {
	d.t.Helper()
	var f *v1alpha1.NetworkFault
	d.eventually(func() error {
		f = d.read(name)
		c := meta.FindStatusCondition(f.Status.Conditions, v1alpha1.Verified)
		if c == nil {
			return fmt.Errorf("NetworkFault %s has no condition Verified", name)
		}
		if got := strings.TrimSpace(fmt.Sprintf("%s %s %s", f.Status.Verified, c.Status, c.Reason)); got != want {
			return fmt.Errorf("NetworkFault %s is measured to be %q (%s), want %q", name, got, c.Message, want)
		}
		for _, w := range words {
			if !strings.Contains(c.Message, w) {
				return fmt.Errorf("NetworkFault %s says %q, want %q in it", name, c.Message, w)
			}
		}
		return nil
	})
	return f
}

// measure has all agents measure in a way.
func (d *database) measure(m madeup.Measuring) {
	for _, a := range d.agents {
		a.Act(madeup.Way{Measure: m})
	}
}

// What agents measure is told, and what is asked for anew is measured anew.
func (f *fleet) measured(t *testing.T) {
	d := f.database(t, nil)
	u := d.create("slow", "to: [pd]")
	got := d.isVerified("slow", "6/6 True InTolerance", "as asked for").Status
	if len(got.Pairs) == 0 || got.Pairs[0].Asked != "50ms" || got.Pairs[0].Before != "0.3ms" || got.Pairs[0].Measured != "50.3ms" {
		t.Errorf("pairs %+v", got.Pairs)
	}
	must(t, patchSpec(t, u, "rtt: 80ms"))
	d.eventually(func() error {
		if got := d.isVerified("slow", "6/6 True InTolerance"); got.Status.Pairs[0].Asked != "80ms" {
			return fmt.Errorf("pairs %+v", got.Status.Pairs)
		}
		return nil
	})
}

// A round trip that is too long or too short, or that has no end, is told with the pair, and
// so is that it is right again.
func (f *fleet) measuredOtherwise(m madeup.Measuring, words string) func(*testing.T) {
	return func(t *testing.T) {
		t.Parallel()
		d := f.database(t, nil)
		d.measure(m)
		d.create("slow", "from: [tikv(0)], to: [pd(0)]")
		d.isVerified("slow", "0/2 False OutOfTolerance", "basic-pd-0", "basic-tikv-0", words)
		if got := d.becomes("slow", "Running Applied 2/2").Status; len(got.Pairs) != 1 {
			t.Errorf("pairs %+v", got.Pairs)
		}
		d.measure(madeup.Measuring{})
		d.isVerified("slow", "2/2 True InTolerance")
	}
}

// A partition is right while nobody answers who is there, and wrong if he does.
func (f *fleet) measuredPartition(t *testing.T) {
	d := f.database(t, nil)
	d.create("cut", "from: [tikv(0)], to: [pd(0)], rtt: null, partition: true, allow: [QuorumLoss]")
	if got := d.isVerified("cut", "2/2 True InTolerance").Status.Pairs; len(got) != 1 || got[0].Asked != "partition" || got[0].Measured != "no answer" {
		t.Errorf("pairs %+v", got)
	}
	d.measure(madeup.Measuring{Deaf: true})
	d.isVerified("cut", "0/2 False OutOfTolerance", "an answer in 0.3ms, a partition asked for")
}

// count has all agents count in a way.
func (d *database) count(c madeup.Counting) {
	for _, a := range d.agents {
		a.Act(madeup.Way{Count: c})
	}
}

// A loss is right or wrong by what agents count, if enough packets meet it. Counters that
// begin anew change nothing.
func (f *fleet) counted(t *testing.T) {
	d := f.database(t, nil)
	d.create("lossy", "from: [tikv(0)], to: [pd(0)], rtt: null, loss: {percent: 1}")
	d.isVerified("lossy", "Unknown NotMeasured", "0 packets met it", "it takes 9178 to tell a loss of 1 %")
	d.count(madeup.Counting{Packets: 19800, Bytes: 2e6, Lost: 200})
	d.isVerified("lossy", "2/2 True InTolerance", "2 counters compared, as asked for")
	d.count(madeup.Counting{Packets: 19400, Bytes: 2e6, Lost: 600})
	d.isVerified("lossy", "0/2 False OutOfTolerance", "lost 3 % of 20000 packets, 1 % is asked for", "1 verdict more")
	d.count(madeup.Counting{Packets: 19800, Bytes: 2e6, Lost: 200})
	right := d.isVerified("lossy", "2/2 True InTolerance")
	d.count(madeup.Counting{Anew: true})
	counts, began := d.counts(), time.Now()
	d.eventually(func() error {
		if n := d.wantBound(counts, time.Since(began)); n < 4 {
			return fmt.Errorf("counters were read %d times", n)
		}
		return nil
	})
	if after := d.read("lossy"); after.ResourceVersion != right.ResourceVersion {
		t.Errorf("the status was written: %v and then %v", right.Status, after.Status)
	}
}

// A topology is measured as faults are, and a fault on top of it with it.
func (f *fleet) measuredTopology(t *testing.T) {
	d := f.database(t, nil)
	u := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": faultVersion, "kind": "NetworkTopology", "spec": parseFields(t, "cluster: basic, spread: 3, defaults: {otherZone: 20ms}, untilDeleted: true"),
	}}
	u.SetNamespace(d.namespace.name)
	u.SetName("ground")
	d.make(u)
	d.create("slow", "from: [tikv(0)], to: [pd(1)]")
	if got := d.isVerified("slow", "2/2 True InTolerance").Status.Pairs; len(got) != 1 || got[0].Asked != "70ms" || got[0].Measured != "70.3ms" {
		t.Errorf("pairs %+v", got)
	}
	d.eventually(func() error {
		ground := &v1alpha1.NetworkTopology{}
		if err := d.typed.Get(t.Context(), client.ObjectKeyFromObject(u), ground); err != nil {
			return err
		}
		if s := ground.Status; s.Verified != "8/8" || !meta.IsStatusConditionTrue(s.Conditions, v1alpha1.Verified) || len(s.Pairs) == 0 {
			return fmt.Errorf("status of the topology %+v", s)
		}
		return nil
	})
}

// An agent that has no time to measure, or does not know how, makes nothing wrong.
func (f *fleet) measuredLater(t *testing.T) {
	d := f.database(t, nil)
	d.measure(madeup.Measuring{Old: true})
	d.create("slow", "to: [pd]")
	d.isVerified("slow", "Unknown NotMeasured", "its agent is of a version that does not measure")
	d.measure(madeup.Measuring{})
	d.isVerified("slow", "6/6 True InTolerance")
	d.measure(madeup.Measuring{Busy: true})
	before, counts, began := d.read("slow"), d.counts(), time.Now()
	d.eventually(func() error {
		if n := d.wantBound(counts, time.Since(began)); n < 6 {
			return fmt.Errorf("%d measurements were asked for while the agents were busy", n)
		}
		return nil
	})
	if after := d.read("slow"); after.ResourceVersion != before.ResourceVersion {
		t.Errorf("the status was written: %v and then %v", before.Status, after.Status)
	}
}

// counts are the requests that each agent got.
func (d *database) counts() map[string]madeup.Counts {
	all := map[string]madeup.Counts{}
	for pod, a := range d.agents {
		all[pod] = a.Counts()
	}
	return all
}

// wantBound checks that no agent measured more often than it may since some counts.
func (d *database) wantBound(since map[string]madeup.Counts, took time.Duration) (all int) {
	d.t.Helper()
	for pod, a := range d.agents {
		n := a.Counts().Measurements - since[pod].Measurements
		all += n
		if most := 8 * (int(took/time.Minute) + 1); n > most {
			d.t.Errorf("the agent of %s measured %d times in %s", pod, n, took)
		}
	}
	return all
}
