package webhook

import (
	"os"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tidelay/tidelay/pkg/injection"
	"github.com/tidelay/tidelay/pkg/injection/gather"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// fixtures are the pods that package injection's golden test injects.
const fixtures = "../injection/testdata"

var testConfig = injection.Config{
	Image: "tidelay/agent:test", PullPolicy: corev1.PullIfNotPresent, Resources: injection.DefaultResources(), Version: "v0.0.0-test",
}

// gathererOf returns a Gatherer for testConfig.
func gathererOf(r resolver, l level) *gather.Gatherer {
	return &gather.Gatherer{Config: func() injection.Config { return testConfig }, Resolver: r, Namespaces: l, Images: pulled{}}
}

// pulled knows nothing against the agent's image.
type pulled struct{}

func (pulled) Problem(string, injection.Config) (none injection.ImageProblem) { return none }

// memberOf returns the membership of a TiKV pod whose TidbCluster has the given
// annotations, key and value in turn.
func memberOf(annotations ...string) tidbcluster.Membership {
	m := map[string]string{}
	for pair := range slices.Chunk(annotations, 2) {
		m[pair[0]] = pair[1]
	}
	return tidbcluster.Membership{
		Cluster:   types.NamespacedName{Namespace: "db", Name: "basic"},
		UID:       "0c1",
		Component: tidbcluster.TiKV,
		OptIn:     tidbcluster.ParseOptIn(m),
	}
}

func optedIn() tidbcluster.Membership { return memberOf("tidelay.io/inject", "true") }

// tikv returns a plain TiKV pod, changed.
func tikv(change func(*corev1.Pod)) *corev1.Pod {
	pod := &corev1.Pod{}
	pod.Name, pod.Namespace = "basic-tikv-0", "db"
	pod.Spec.Containers = []corev1.Container{{
		Name:  "tikv",
		Image: "pingcap/tikv",
		Ports: []corev1.ContainerPort{{Name: "server", ContainerPort: 20160, Protocol: corev1.ProtocolTCP}},
	}}
	if change != nil {
		change(pod)
	}
	return pod
}

func readFile(t testing.TB, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
