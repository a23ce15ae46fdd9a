//go:build apiserver

package apiserver

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// Every metric of the injector and of the controller that the shipped rules and
// dashboard name is one that one of them has. Those of the agent are looked for where
// the agent is tested.
func TestMonitoringNamesRealMetrics(t *testing.T) {
	controller := newLeader(t)
	n := newNamespace(t)
	n.admit(n.tikv(nil)) // a TidbCluster that is not opted in is read live
	n.cluster("other", optedIn())
	n.hasCondition("other", "Unknown no_pods")
	onHost := func(pod *corev1.Pod) { pod.Spec.HostNetwork = true }
	n.post(n.pod("host-tikv-0", "tikv", n.statefulSet("host-tikv", n.cluster("host", optedIn())), onHost), wet)
	n.hasCondition("host", "False host_network")
	n.make(n.fault("waiting", "cluster: other"))
	n.make(n.topology("waiting", "cluster: other"))
	eventually(t, 10*time.Second, func() error {
		for _, metric := range []string{"tidelay_faults", "tidelay_topologies"} {
			if _, found := controller.gauge(t, metric, n.name); !found {
				return fmt.Errorf("%s does not have the object", metric)
			}
		}
		return nil
	})
	// One is there only of a TidbCluster whose pods are measured.
	d := newFleet(t).database(t, nil)
	d.create("slow", "to: [pd]")
	d.eventually(func() error {
		if _, found := controller.gauge(t, "tidelay_pairs_out_of_tolerance", d.namespace.name); !found {
			return errors.New("tidelay_pairs_out_of_tolerance does not have the TidbCluster")
		}
		return nil
	})
	// One is there only while something is in the way.
	must(t, world.setEndpoints(t.Context(), 0))
	n.hasCondition("other", "False injector_not_ready")
	has := ""
	for _, p := range []*process{world.injector.process, controller} {
		metrics, err := get(t.Context(), "http://"+p.metrics+"/metrics")
		must(t, err)
		has += metrics
	}
	must(t, world.setEndpoints(t.Context(), 1))
	var named []string
	for _, file := range []string{"rules.yaml", "controller-rules.yaml", "dashboard.json"} {
		content, err := os.ReadFile(filepath.Join(manifests, "monitoring", file))
		must(t, err)
		var object map[string]any
		must(t, yaml.UnmarshalStrict(content, &object))
		named = append(named, regexp.MustCompile(`\b(tidelay|leader_election)_[a-z_]+`).FindAllString(string(content), -1)...)
	}
	slices.Sort(named)
	ours := 0
	for _, name := range slices.Compact(named) {
		if strings.HasPrefix(name, "tidelay_agent_") || strings.HasPrefix(name, "tidelay_fault_") {
			continue
		}
		ours++
		if !regexp.MustCompile(`(?m)^` + name + `[{ ]`).MatchString(has) {
			t.Errorf("neither the injector nor the controller has a metric %s", name)
		}
	}
	if ours < 7 {
		t.Errorf("only %d metrics of the injector and the controller are named", ours)
	}
}

// An alert tells that no injector is scraped by a metric that the controller does not
// have, and the other way round.
func TestAbsenceIsSeen(t *testing.T) {
	controller := newLeader(t)
	must(t, controller.waitReady(t.Context()))
	eventually(t, 10*time.Second, func() error {
		if !controller.leads(t) {
			return errors.New("the controller does not lead")
		}
		return nil
	})
	for file, test := range map[string]struct{ has, hasNot *process }{
		"rules.yaml":            {world.injector.process, controller},
		"controller-rules.yaml": {controller, world.injector.process},
	} {
		content, err := os.ReadFile(filepath.Join(manifests, "monitoring", file))
		must(t, err)
		metric := regexp.MustCompile(`absent\(([a-z_]+)`).FindStringSubmatch(string(content))
		if metric == nil {
			t.Errorf("%s has no alert on absence", file)
			continue
		}
		for p, want := range map[*process]bool{test.has: true, test.hasNot: false} {
			text, err := get(t.Context(), "http://"+p.metrics+"/metrics")
			must(t, err)
			if got := regexp.MustCompile(`(?m)^` + metric[1] + `[{ ]`).MatchString(text); got != want {
				t.Errorf("%s: %s has %s: %t, want %t", file, p.name, metric[1], got, want)
			}
		}
	}
}
