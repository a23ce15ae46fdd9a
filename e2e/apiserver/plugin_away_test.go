//go:build apiserver

package apiserver

import (
	"os"
	"path/filepath"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
)

// kubeconfigOfNobody returns a kubeconfig for an API server that is not there.
func kubeconfigOfNobody(t *testing.T, kubeconfig string) string {
	t.Helper()
	config, err := clientcmd.LoadFromFile(kubeconfig)
	must(t, err)
	addresses, err := freeAddresses(1)
	must(t, err)
	for _, cluster := range config.Clusters {
		cluster.Server = "https://" + addresses[0]
	}
	path := filepath.Join(t.TempDir(), "gone.kubeconfig")
	must(t, clientcmd.WriteToFile(*config, path))
	return path
}

// What can't work is told in a line that names what was asked, and with its exit status:
// wrong usage before anybody is asked.
func TestPluginFails(t *testing.T) {
	n := newNamespace(t)
	p := n.person("admin", "cluster-admin")
	p.allow(access{Verb: "list", Resource: "nodes"})
	p.may(access{Verb: "create", Group: faultGroup, Resource: faultResource})
	gone := kubeconfigOfNobody(t, p.kubeconfig)
	g := newGate(t, injectorName)
	g.requests.Lock()
	t.Cleanup(g.requests.Unlock)
	for name, test := range map[string]struct {
		kubeconfig string
		args       []string
		status     int
		words      []string
	}{
		"usage, and nobody there": {gone, []string{"set", "basic", "50ms"}, 2, []string{"--from is missing", "See 'kubectl tidelay set --help'."}},
		"verb, and nobody there":  {gone, []string{"sett"}, 2, []string{"set"}},
		"gone":                    {gone, []string{"status", "basic"}, 1, []string{"connection refused"}},
		"gone while clearing":     {gone, []string{"clear", "--all"}, 1, []string{"connection refused"}},
		"gone while writing":      {gone, []string{"set", "basic", "50ms", "--from=tikv"}, 1, []string{"connection refused"}},
		"slow":                    {g.kubeconfig, []string{"status", "basic", "--request-timeout=1s"}, 1, []string{"An answer took longer than --request-timeout=1s."}},
		"gone while completing":   {gone, []string{"__complete", "set", ""}, 0, []string{":4"}},
		"slow while completing":   {g.kubeconfig, []string{"__complete", "clear", ""}, 0, []string{":4"}},
		"wrong context":           {p.kubeconfig, []string{"status", "basic", "--context=nowhere"}, 1, []string{`context "nowhere" does not exist`}},
		"no kubeconfig":           {os.DevNull + "/none", []string{"status", "basic"}, 1, []string{"kubeconfig"}},
		"wrong namespace":         {p.kubeconfig, []string{"status", "basic"}, 1, []string{"there is no TidbCluster basic in namespace " + n.name}},
		"nothing to clear":        {p.kubeconfig, []string{"clear", "slow"}, 1, []string{"there is no fault, topology or TidbCluster slow in namespace " + n.name}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := p
			p.t, p.kubeconfig = t, test.kubeconfig
			p.runs(test.args...).wants(t, test.status, test.words...)
		})
	}
}

// A person without rights is told so.
func TestPluginOfNobody(t *testing.T) {
	n := newNamespace(t)
	p := n.person("nobody")
	for _, args := range [][]string{
		{"set", "basic", "50ms", "--from=tikv"},
		{"partition", "basic", "--from=tikv"},
		{"topology", "basic", "--profile=three-az"},
		{"run", "basic", "pd-leader-slow"},
		{"clear", "--all"},
	} {
		p.runs(args...).wants(t, 1, "forbidden", p.user)
	}
	p.runs("status", "basic").wants(t, 0, "you may not read TidbClusters", "you may not read pods", "you may not read NetworkFaults")
	p.runs("__complete", "set", "").wants(t, 0, ":4")
}
