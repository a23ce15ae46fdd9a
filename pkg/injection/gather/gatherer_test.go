package gather

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tidelay/tidelay/pkg/injection"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// world answers every read, and notes which were made.
type world struct {
	member  tidbcluster.Membership
	err     error // of resolving the pod
	level   string
	nsErr   error // of reading the namespace
	version string
	image   string // what is known against the agent's image
	reads   []string
}

func (w *world) Resolve(_ context.Context, namespace string, _ *corev1.Pod) (tidbcluster.Membership, error) {
	w.reads = append(w.reads, "owners in "+namespace)
	return w.member, w.err
}

func (w *world) OperatorVersion(_ context.Context, cluster types.NamespacedName) (string, error) {
	w.reads = append(w.reads, "operator of "+cluster.Name)
	return w.version, nil
}

func (w *world) EnforcedLevel(_ context.Context, namespace string) (string, error) {
	w.reads = append(w.reads, "namespace "+namespace)
	return w.level, w.nsErr
}

func (w *world) gatherer() *Gatherer {
	config := injection.Config{Image: "a", PullPolicy: corev1.PullNever, Resources: injection.DefaultResources()}
	return &Gatherer{Config: func() injection.Config { return config }, Resolver: w, Namespaces: w, Images: w}
}

// Problem is told the configuration that the decision is made by.
func (w *world) Problem(namespace string, config injection.Config) injection.ImageProblem {
	switch {
	case config.Image != "a" || namespace != "db":
		return injection.ImageProblem{Image: "other", Detail: "asked about image " + config.Image + " in " + namespace}
	case w.image == "":
		return injection.ImageProblem{}
	}
	return injection.ImageProblem{Image: "mirror/a", Detail: w.image}
}

func member(annotations ...string) tidbcluster.Membership {
	m := map[string]string{}
	for pair := range slices.Chunk(annotations, 2) {
		m[pair[0]] = pair[1]
	}
	return tidbcluster.Membership{
		Cluster: types.NamespacedName{Namespace: "db", Name: "basic"}, UID: "0c1", Component: tidbcluster.TiKV, OptIn: tidbcluster.ParseOptIn(m),
	}
}

func TestDecideAndReason(t *testing.T) {
	errDown := errors.New("the API server does not answer")
	asked := member("tidelay.io/inject", "true")
	native := member("tidelay.io/inject", "true", "tidelay.io/sidecar", "native")
	owners, namespace := "owners in db", "namespace db"
	tests := map[string]struct {
		world    world
		want     injection.Reason
		wantErr  error
		reads    []string // of Reason; Decide reads the operator's version as well
		operator bool
		problems int
	}{
		"if the TidbCluster asks, inject":               {world: world{member: asked}, want: injection.Injected, reads: []string{owners, namespace}},
		"if it asks for a native sidecar, inject":       {world: world{member: native, version: "v1.6.0"}, want: injection.Injected, reads: []string{owners, namespace}, operator: true},
		"if the operator is too old for it, inject too": {world: world{member: native, version: "v1.5.0"}, want: injection.Injected, reads: []string{owners, namespace}, operator: true, problems: 1},
		"if the namespace forbids it, skip":             {world: world{member: asked, level: "baseline"}, want: injection.PodSecurity, reads: []string{owners, namespace}},
		"if the image can't be pulled, skip":            {world: world{member: asked, image: "it can't be pulled"}, want: injection.ImageUnavailable, reads: []string{owners, namespace}},
		"if the TidbCluster does not ask, skip without more reads": {
			world: world{member: member("tidelay.io/sidecar", "native"), nsErr: errDown}, want: injection.NotOptedIn, reads: []string{owners},
		},
		"if the pod is no member, skip": {
			world: world{err: fmt.Errorf("a TidbMonitor's: %w", tidbcluster.ErrNotMember)}, want: injection.NotMember, reads: []string{owners},
		},
		"if the owner is gone, skip": {
			world: world{err: fmt.Errorf("gone: %w", tidbcluster.ErrStaleOwner)}, want: injection.StaleOwner, reads: []string{owners},
		},
		"if the owner cannot be read, skip": {
			world: world{err: errDown}, want: injection.LookupFailed, wantErr: errDown, reads: []string{owners},
		},
		"if the namespace cannot be read, skip": {
			world: world{member: asked, nsErr: errDown}, want: injection.LookupFailed, wantErr: errDown, reads: []string{owners, namespace},
		},
	}
	pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "tikv"}}}}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := test.world
			got, decision, err := w.gatherer().Decide(t.Context(), "db", pod)
			if decision.Reason != test.want || decision.Detail == "" || !errors.Is(err, test.wantErr) {
				t.Errorf("Decide: %s (%s), %v; want %s, %v", decision.Reason, decision.Detail, err, test.want, test.wantErr)
			}
			if got.UID != test.world.member.UID || len(decision.Problems) != test.problems {
				t.Errorf("Decide: member of %q with problems %q, want %q and %d", got.UID, decision.Problems, test.world.member.UID, test.problems)
			}
			want := test.reads
			if test.operator {
				want = append(slices.Clone(want), "operator of basic")
			}
			if !slices.Equal(w.reads, want) {
				t.Errorf("Decide reads %q, want %q", w.reads, want)
			}

			w = test.world
			got, reason, err := w.gatherer().Reason(t.Context(), "db", pod)
			if reason != decision.Reason || got.UID != test.world.member.UID || !errors.Is(err, test.wantErr) {
				t.Errorf("Reason: member of %q, %s, %v; Decide says %s", got.UID, reason, err, decision.Reason)
			}
			if !slices.Equal(w.reads, test.reads) {
				t.Errorf("Reason reads %q, want %q", w.reads, test.reads)
			}
		})
	}
}
