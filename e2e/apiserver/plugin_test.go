//go:build apiserver

package apiserver

import (
	"encoding/json"
	"fmt"
	"testing"

	tcv1alpha1 "github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
)

// The plugin, as a program of its own, with the controller that is shipped: what it writes
// comes into force, and what it says is so.
func TestPlugin(t *testing.T) {
	eventuallyInjects(t)
	controller := newLeader(t)
	must(t, controller.waitReady(t.Context()))
	t.Run("at once", func(t *testing.T) {
		f := newFleet(t)
		for name, test := range map[string]func(f *fleet, t *testing.T){
			"set":           (*fleet).pluginSets,
			"dry run":       (*fleet).pluginOnlySays,
			"partition":     (*fleet).pluginIsRefused,
			"shapes":        (*fleet).pluginShapes,
			"ring fails":    (*fleet).pluginRingFails,
			"topology, run": (*fleet).pluginGround,
			"matrix file":   (*fleet).pluginReadsMatrix,
			"viewer":        (*fleet).pluginOfViewer,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(f, t)
			})
		}
	})
}

// operator is a person who has Kubernetes' role edit, and may read TidbClusters and nodes.
func (d *database) operator() person {
	d.t.Helper()
	p := d.person("operator", editRoles...)
	p.allow(readTidbClusters(), access{Verb: "list", Resource: "nodes"})
	p.may(access{Verb: "create", Group: faultGroup, Resource: faultResource}, access{Verb: "list", Resource: "pods"})
	return p
}

func readTidbClusters() access {
	return access{Verb: "get", Group: "pingcap.com", Resource: "tidbclusters"}
}

// faults returns the names of the faults that are there.
func (d *database) faults() []string {
	d.t.Helper()
	var list v1alpha1.NetworkFaultList
	must(d.t, d.typed.List(d.t.Context(), &list, client.InNamespace(d.namespace.name)))
	var all []string
	for _, f := range list.Items {
		all = append(all, f.Name)
	}
	return all
}

func (f *fleet) pluginSets(t *testing.T) {
	d := f.database(t, nil)
	p := d.operator()
	set := func(rtt string) {
		t.Helper()
		p.runs("set", "basic", rtt, "--from", "tikv", "--to", "pd(leader)", "--wait", "--timeout=3m").
			wants(t, 0, "+"+rtt+" RTT", "in force at 4/4 pods", "measured as asked for at 4/4 pods", "MEASURED")
	}
	set("50ms")
	before := d.becomes("basic-tikv-to-pd-leader", "Running Applied 4/4")
	d.wantEffects(d.between("tikv", "pd-0", "25ms"))
	set("80ms")
	after := d.becomes("basic-tikv-to-pd-leader", "Running Applied 4/4")
	d.wantEffects(d.between("tikv", "pd-0", "40ms"))
	if got := d.faults(); len(got) != 1 || after.UID != before.UID || after.Spec.RTT != "80ms" {
		t.Errorf("faults %q, rtt %s; want the one that was there changed", got, after.Spec.RTT)
	}
	p.runs("status", "basic").wants(t, 0, "basic-tikv-to-pd-leader", "+80ms RTT", "basic-tikv-2")
	p.runs("roles", "basic").wants(t, 0, "basic-pd-0", "leader")
	p.runs("clear", "basic").wants(t, 0, "NetworkFault basic-tikv-to-pd-leader cleared")
	d.eventually(func() error {
		if got := d.holders(); len(got) > 0 {
			return fmt.Errorf("faults are held by %q", got)
		}
		return nil
	})
	p.runs("clear", "--all").wants(t, 0, "no faults and no topologies")
}

// What a dry run prints is what would be written, and the API server takes it.
func (f *fleet) pluginOnlySays(t *testing.T) {
	d := f.database(t, nil)
	p := d.operator()
	for name, args := range map[string][]string{
		"NetworkFault":    {"set", "basic", "50ms", "--from=tikv(random)", "--jitter=5ms", "--loss=1%", "--rate=1gbit"},
		"NetworkTopology": {"topology", "basic", "--profile=three-az", "--spread=3"},
	} {
		got := p.runs(append(args, "--dry-run", "-o", "yaml")...)
		got.wants(t, 0, "dry run: nothing was changed", "no rule refuses it")
		var u unstructured.Unstructured
		must(t, yaml.UnmarshalStrict([]byte(got.out), &u.Object))
		if u.GetKind() != name || u.GetNamespace() != d.namespace.name {
			t.Errorf("%s %s/%s", u.GetKind(), u.GetNamespace(), u.GetName())
		}
		must(t, world.client.Create(t.Context(), &u, client.DryRunAll, strictly))
	}
	var topologies v1alpha1.NetworkTopologyList
	must(t, d.typed.List(t.Context(), &topologies, client.InNamespace(d.namespace.name)))
	if got := d.faults(); len(got) > 0 || len(topologies.Items) > 0 {
		t.Errorf("written: faults %q, %d topologies", got, len(topologies.Items))
	}
}

func (f *fleet) pluginIsRefused(t *testing.T) {
	d := f.database(t, nil)
	p := d.operator()
	p.runs("partition", "basic", "--from=pd", "--to=tikv").wants(t, 3, "QuorumLoss", "nothing was changed", "--allow QuorumLoss")
	if got := d.faults(); len(got) > 0 {
		t.Errorf("written: %q", got)
	}
	p.runs("partition", "basic", "--from=pd(leader)", "--to=pd(follower)", "--wait", "--timeout=3m").wants(t, 0, "in force at 3/3 pods")
	d.change(func(tc *tcv1alpha1.TidbCluster) { tc.Annotations[protectAnnotation] = "true" })
	p.runs("set", "basic", "50ms", "--from=tikv").wants(t, 3, "Protected")
}

func (f *fleet) pluginGround(t *testing.T) {
	d := f.database(t, nil)
	p := d.operator()
	p.runs("topology", "basic", "--profile=three-az", "--spread=3", "--wait", "--timeout=3m").wants(t, 0, "in force at 8/8 pods")
	p.runs("run", "basic", "pd-leader-slow", "--wait", "--timeout=3m").wants(t, 0, "in force at 8/8 pods")
	got := p.runs("status", "basic", "-o", "json")
	got.wants(t, 0)
	var report struct{ Cluster string }
	if err := json.Unmarshal([]byte(got.out), &report); err != nil || report.Cluster != "basic" {
		t.Errorf("status: %v, %+v:\n%s", err, report, got.out)
	}
	p.runs("clear", "--all").wants(t, 0, "NetworkTopology basic-topology cleared", "NetworkFault basic-pd-leader-slow cleared")
}

// A viewer looks, and changes nothing.
func (f *fleet) pluginOfViewer(t *testing.T) {
	d := f.database(t, nil)
	d.create("slow", "")
	d.becomes("slow", "Running Applied 8/8")
	p := d.person("viewer", viewRoles...)
	p.may(access{Verb: "list", Group: faultGroup, Resource: faultResource}, access{Verb: "list", Resource: "pods"})
	p.runs("status", "basic").wants(t, 0, "you may not read TidbClusters", "you may not read nodes", "basic-tikv-0", "slow")
	forbidden := []string{"forbidden", p.user, "NetworkFault"}
	p.runs("set", "basic", "80ms", "--from=pd").wants(t, 1, append(forbidden, "create")...)
	p.runs("set", "basic", "80ms", "--from=tikv").wants(t, 1, append(forbidden, "change")...)
	p.runs("clear", "slow").wants(t, 1, append(forbidden, "delete")...)
}
