//go:build apiserver

package apiserver

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tidelay/tidelay/e2e/madeup"
)

// The controller carries out NetworkFaults with the rights that it is shipped with. Each
// test has a TidbCluster of its own, and all of them go on at once: the tests wait for
// renewals, which come within a minute.
func TestNetworkFaults(t *testing.T) {
	eventuallyInjects(t)
	controller := newLeader(t)
	must(t, controller.waitReady(t.Context()))
	must(t, world.audit.read())
	refused := len(world.audit.refused)
	t.Run("at once", func(t *testing.T) {
		f := newFleet(t)
		for name, test := range map[string]func(f *fleet, t *testing.T){
			"in force everywhere": (*fleet).inForceEverywhere,
			"two add":             (*fleet).twoAdd,
			"change in place":     (*fleet).changeInPlace,
			"pause":               (*fleet).pause,
			"expiry":              (*fleet).expiry,
			"leader":              (*fleet).leader,
			"role unknown":        (*fleet).roleUnknown,
			"early start":         (*fleet).earlyStart,
			"quorum":              (*fleet).quorum,
			"protect":             (*fleet).protect,
			"slow agent":          (*fleet).slowAgent,
			"agent refuses":       (*fleet).agentRefuses,
			"agent lies":          (*fleet).agentLies,
			"agent vanishes":      (*fleet).agentVanishes,
			"agent loses state":   (*fleet).agentLosesState,
			"agent starts again":  (*fleet).agentStartsAgain,
			"agent ends":          (*fleet).agentEnds,
			"changed by hand":     (*fleet).changedByHand,
			"taken by hand":       (*fleet).takenByHand,
			"in vain":             (*fleet).inVain,
			"pod replaced":        (*fleet).podReplaced,
			"pod without agent":   (*fleet).podWithoutAgent,
			"quiet minute":        (*fleet).quietMinute,
			"measured":            (*fleet).measured,
			"measured partition":  (*fleet).measuredPartition,
			"measured topology":   (*fleet).measuredTopology,
			"measured later":      (*fleet).measuredLater,
			"counted":             (*fleet).counted,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(f, t)
			})
		}
		t.Run("measured late", f.measuredOtherwise(madeup.Measuring{Late: 9 * time.Millisecond}, "59ms added, 50ms asked for"))
		t.Run("measured early", f.measuredOtherwise(madeup.Measuring{Late: -9 * time.Millisecond}, "41ms added, 50ms asked for"))
		t.Run("measured no answer", f.measuredOtherwise(madeup.Measuring{Silent: true}, "no answer, 50ms asked for"))
	})
	must(t, world.audit.read())
	for _, e := range world.audit.refused[refused:] {
		if e.User.Username == userPrefix+controllerName {
			t.Errorf("the controller lacks a right: %s %s: %s", e.Verb, e.RequestURI, e.ResponseStatus.Message)
		}
	}
}

// While the controller is gone a fault is deleted. The next one has the agents let go of it
// at once, long before its life is over, and does not touch the fault that stays.
func TestFaultDeletedWithoutController(t *testing.T) {
	eventuallyInjects(t)
	first := newLeader(t)
	d := newFleet(t).database(t, nil)
	gone := d.create("gone", "from: [tidb], to: [tikv], rtt: 20ms")
	d.create("stays", "from: [tikv], to: [pd]")
	d.becomes("gone", "Running Applied 5/5")
	started := d.becomes("stays", "Running Applied 6/6").Status.StartedAt
	empties := d.empties()
	first.kill()
	d.remove(gone)
	d.wantEffects(d.between("tidb", "tikv", "10ms").and(d.between("tikv", "pd", "25ms")))

	newLeader(t)
	d.wantEffects(d.between("tikv", "pd", "25ms"))
	if now := d.becomes("stays", "Running Applied 6/6").Status.StartedAt; !now.Equal(started) {
		t.Errorf("the fault that stays started anew, at %s instead of %s", now, started)
	}
	for pod, n := range d.empties() {
		if n > empties[pod] && !strings.Contains(pod, "tidb") {
			t.Errorf("the agent of %s had to let go of the fault that stays", pod)
		}
	}
}

// Where the configuration names a Secret, agents get its token. Where the controller may
// not read it, the status says so and names it.
func TestFaultsWithToken(t *testing.T) {
	const secret, token = "agent-token", "s3cret"
	eventuallyInjects(t)
	config := filepath.Join(t.TempDir(), "config.yaml")
	must(t, os.WriteFile(config, fmt.Appendf(nil, "agent: {tokenSecret: %s}", secret), 0o600))
	newLeader(t, "--config="+config)
	f := newFleet(t)
	var all []*database
	for _, isReadable := range []bool{true, false} {
		n := newNamespace(t)
		n.make(&corev1.Secret{ObjectMeta: n.meta(secret, nil), StringData: map[string]string{"token": token + "\n"}})
		if isReadable {
			n.mayReadSecret(secret)
		}
		d := f.databaseIn(n, "basic", nil)
		for _, a := range d.agents {
			a.Act(madeup.Way{Token: token})
		}
		d.create("slow", "") // the controller may not have seen yet that the pods are ready
		all = append(all, d)
	}
	readable, hidden := all[0], all[1]
	readable.becomes("slow", "Running Applied 8/8")
	hidden.becomes("slow", "Running NotApplied 0/8", "read Secret "+hidden.namespace.name+"/"+secret, "forbidden")
	if got := hidden.holders(); len(got) > 0 {
		t.Errorf("without the token faults are held by %q", got)
	}
}

// mayReadSecret lets the controller read a Secret.
func (n namespace) mayReadSecret(name string) {
	n.t.Helper()
	n.make(&rbacv1.Role{ObjectMeta: n.meta(name, nil), Rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{name}, Verbs: []string{"get"}}}})
	n.make(&rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: n.name, Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: systemNamespace, Name: controllerName}},
	})
}
