package object_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/plugin/object"
)

func spec(t *testing.T, cluster, from, to string) v1alpha1.NetworkFaultSpec {
	t.Helper()
	s := v1alpha1.NetworkFaultSpec{Cluster: cluster}
	for text, side := range map[string]*[]v1alpha1.Selector{from: &s.From, to: &s.To} {
		var err error
		if *side, err = object.Side(text); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestNames(t *testing.T) {
	long := strings.Repeat("a", 40)
	for _, test := range []struct {
		cluster, from, to string
		partition         bool
		seed              int64
		want              string
	}{
		{"basic", "tikv", "others", false, 0, "basic-tikv"},
		{"basic", "tikv", "pd(leader)", false, 0, "basic-tikv-to-pd-leader"},
		{"basic", "pdleader", "pd(follower-all)", true, 0, "basic-pd-leader-to-pd-follower-cut"},
		{"basic", "tikv(random:2)@b, tidb(0)", "others", false, 7, "basic-tikv-random-2-in-b-and-tidb-0-seed-7"},
		{"basic", "pod/basic-tikv-0", "tikv(store=4)", false, 0, "basic-pod-basic-tikv-0-to-tikv-store-4"},
		{"basic", "tikv", "cidr/10.0.0.0/8", false, 0, "basic-tikv-to-cidr-10-0-0-0-8-"},
		{"basic", "tikv@Zone_A", "others", false, 0, "basic-tikv-in-zone-a-"},
		{"a.b", "tikv", "others", false, 0, "a-b-tikv-"},
		{long, "tikv", "tikv(random),tidb", false, 0, long + "-tikv-to-tikv-ra-"},
	} {
		s := spec(t, test.cluster, test.from, test.to)
		s.Partition, s.Seed = test.partition, test.seed
		_, name, err := object.Find(nil, &s, "")
		if err != nil {
			t.Fatal(err)
		}
		if rest, is := strings.CutPrefix(name, test.want); !is || rest != "" && (!strings.HasSuffix(test.want, "-") || len(rest) != 6) {
			t.Errorf("%s from %s to %s: %s, want %s", test.cluster, test.from, test.to, name, test.want)
		}
		if problems := validation.IsDNS1123Label(name); len(problems) > 0 {
			t.Errorf("%s: %v", name, problems)
		}
	}
}

// Every name is a DNS label, and no two texts have one.
func TestLabel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.StringMatching(`[a-zA-Z0-9._-]{1,80}`).Draw(t, "a"), rapid.StringMatching(`[a-zA-Z0-9._-]{1,80}`).Draw(t, "b")
		for _, text := range []string{a, b} {
			if problems := validation.IsDNS1123Label(object.Label(text)); len(problems) > 0 {
				t.Fatalf("%q becomes %q: %v", text, object.Label(text), problems)
			}
		}
		if a != b && object.Label(a) == object.Label(b) {
			t.Fatalf("%q and %q become %q", a, b, object.Label(a))
		}
	})
}

func TestFind(t *testing.T) {
	fault := func(name, cluster, from, to string) *v1alpha1.NetworkFault {
		return object.NewFault("db", name, spec(t, cluster, from, to))
	}
	wanted := spec(t, "basic", "tikv,tidb", "pd(leader)")
	hand := fault("by-hand", "basic", "tidb,tikv", "pdleader")
	other := fault("basic-tikv-and-tidb-to-pd-leader", "other", "tikv,tidb", "pd(leader)")
	for name, test := range map[string]struct {
		all       []*v1alpha1.NetworkFault
		name      string
		want      string
		isThere   bool
		isRefused bool
	}{
		"nothing":                         {nil, "", "basic-tikv-and-tidb-to-pd-leader", false, false},
		"a name":                          {nil, "mine", "mine", false, false},
		"by hand, in another order":       {[]*v1alpha1.NetworkFault{hand}, "", "by-hand", true, false},
		"by hand, and another name":       {[]*v1alpha1.NetworkFault{hand}, "mine", "mine", false, false},
		"a name that is something else's": {[]*v1alpha1.NetworkFault{other}, other.Name, "", false, true},
	} {
		t.Run(name, func(t *testing.T) {
			there, got, err := object.Find(test.all, &wanted, test.name)
			if got != test.want || (there != nil) != test.isThere || (err != nil) != test.isRefused {
				t.Errorf("%v, %q, %v", there, got, err)
			}
		})
	}
	there, name, err := object.Find([]*v1alpha1.NetworkFault{other}, &wanted, "")
	if there != nil || err != nil || name == other.Name || !strings.HasPrefix(name, other.Name+"-") {
		t.Errorf("the made name is another one's: %v, %q, %v", there, name, err)
	}
}

func TestPlan(t *testing.T) {
	now := time.Date(2030, 1, 31, 12, 0, 0, 500, time.UTC)
	wanted := object.NewFault("db", "a", spec(t, "basic", "tikv", "others"))
	wanted.Spec.Duration = "10m"
	for name, test := range map[string]struct {
		phase    v1alpha1.Phase
		since    time.Duration // since it started
		duration v1alpha1.Duration
		action   object.Action
		want     v1alpha1.Duration
		err      bool
	}{
		"it runs":                          {v1alpha1.Running, 8 * time.Minute, "10m", object.Change, "18m1s", false},
		"it runs until it is deleted":      {v1alpha1.Running, 8 * time.Minute, "", object.Change, "", false},
		"the clock was set back":           {v1alpha1.Running, -time.Minute, "10m", object.Change, "10m", false},
		"it was refused when it was there": {v1alpha1.Refused, time.Minute, "1m", object.Change, "2m1s", false},
		"it has ended":                     {v1alpha1.Ended, time.Minute, "10m", object.Replace, "10m", false},
		"it would last too long":           {v1alpha1.Running, 719 * time.Hour, "2h", "", "", true},
	} {
		t.Run(name, func(t *testing.T) {
			before := wanted.DeepCopy()
			before.Status.Phase = test.phase
			before.Status.StartedAt = &metav1.Time{Time: now.Add(-test.since)}
			asked := wanted.DeepCopy()
			asked.Spec.Duration = test.duration
			step, err := object.Plan(object.Asked{Wanted: asked, Before: before}, now.Add(time.Nanosecond))
			if (err != nil) != test.err || step.Action != test.action {
				t.Fatalf("%q, %v", step.Action, err)
			}
			if err == nil && step.After.(*v1alpha1.NetworkFault).Spec.Duration != test.want {
				t.Errorf("%s, want %s", step.After.(*v1alpha1.NetworkFault).Spec.Duration, test.want)
			}
		})
	}
}

// What was refused as it is asked for is created again: the controller looks at it again only
// when it is another one. A change is enough where something differs.
func TestPlanOfRefused(t *testing.T) {
	fault := object.NewFault("db", "a", spec(t, "basic", "tikv", "others"))
	topology := object.NewTopology("db", "a", v1alpha1.NetworkTopologySpec{Cluster: "basic", Profile: "three-az"})
	for _, wanted := range []client.Object{fault, topology} {
		for name, test := range map[string]struct {
			change func(before client.Object)
			want   object.Action
		}{
			"the same":            {func(client.Object) {}, object.Replace},
			"something differs":   {func(o client.Object) { object.Allow(o, []v1alpha1.Allowance{v1alpha1.Upgrade}) }, object.Change},
			"refused before that": {func(o client.Object) { o.SetGeneration(4) }, object.Change},
			"it waits":            {func(o client.Object) { object.Life(o).Phase = v1alpha1.Pending }, object.Change},
		} {
			t.Run(object.Kind(wanted)+"/"+name, func(t *testing.T) {
				before := wanted.DeepCopyObject().(client.Object)
				before.SetGeneration(3)
				before.SetUID("before")
				object.Life(before).Phase, object.Life(before).ObservedGeneration = v1alpha1.Refused, 3
				test.change(before)
				step, err := object.Plan(object.Asked{Wanted: wanted, Before: before}, time.Now())
				if err != nil || step.Action != test.want {
					t.Fatalf("%q, %v; want %q", step.Action, err, test.want)
				}
				if isNew := step.After.GetUID() == ""; isNew != (test.want == object.Replace) {
					t.Errorf("it writes %+v", step.After)
				}
			})
		}
	}
}

// Every file of manifests/examples is a preset, is for the TidbCluster that it is asked for,
// and says what it does.
func TestPresets(t *testing.T) {
	all, err := object.Presets()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("../../../manifests/examples/*.yaml")
	if err != nil || len(files) != len(all) || len(all) < 10 {
		t.Fatalf("%d presets of %d files, %v", len(all), len(files), err)
	}
	for i, p := range all {
		o := p.For("db", "prod")
		if p.Name+".yaml" != filepath.Base(files[i]) || object.Cluster(o) != "prod" || o.GetName() != "prod-"+p.Name || o.GetNamespace() != "db" {
			t.Errorf("%s of %s is %s/%s for %s", p.Name, files[i], o.GetNamespace(), o.GetName(), object.Cluster(o))
		}
		if ground, is := o.(*v1alpha1.NetworkTopology); is && ground.Spec.StartAfter == "" {
			t.Errorf("%s: the API server fills in when it starts, so that it is never the same again", p.Name)
		}
		if what := p.What(); len(what) < 20 || !strings.HasSuffix(what, ".") {
			t.Errorf("%s: it says %q", p.Name, what)
		}
	}
}
