//go:build apiserver

package apiserver

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// least are the rights that docs/security.md says a verb of the plugin needs.
type least struct {
	// needs are those without which it fails, tells those without which it tells less.
	needs, tells []access
}

var (
	verbRow = regexp.MustCompile("^\\| `[a-z]+`")
	inCode  = regexp.MustCompile("`([^`]+)`")
)

// readLeast returns the rights by the first cell of each row of the table, without its
// backticks.
func readLeast(t *testing.T) map[string]least {
	t.Helper()
	content, err := os.ReadFile(root + "/docs/security.md")
	must(t, err)
	_, section, found := strings.Cut(string(content), "### What each verb of the plugin needs\n")
	if !found {
		t.Fatal("docs/security.md has no such section")
	}
	section, _, _ = strings.Cut(section, "\n#")
	all := map[string]least{}
	var same []access
	for line := range strings.Lines(section) {
		if !verbRow.MatchString(line) {
			continue
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		row := least{needs: rightsIn(cells[1]), tells: rightsIn(cells[2])}
		if strings.TrimSpace(cells[2]) == "the same" {
			row.tells = same
		}
		same = row.tells
		all[strings.TrimSpace(strings.ReplaceAll(cells[0], "`", ""))] = row
	}
	return all
}

// rightsIn reads the rights of a cell: "VERB RESOURCE[/SUBRESOURCE][.GROUP]".
func rightsIn(cell string) []access {
	var all []access
	for _, match := range inCode.FindAllStringSubmatch(cell, -1) {
		verb, what, isRight := strings.Cut(match[1], " ")
		if !isRight {
			continue
		}
		what, subresource, _ := strings.Cut(what, "/")
		resource, group, _ := strings.Cut(what, ".")
		all = append(all, access{Verb: verb, Group: group, Resource: resource, Subresource: subresource})
	}
	return all
}

// proxied makes a TidbCluster whose agents the API server's pod proxy reaches.
func (f *fleet) proxied(n namespace) *database {
	n.t.Helper()
	d := f.databaseIn(n, "basic", nil)
	for pod, addr := range d.addrs {
		d.changeStatus(pod, func(s *corev1.PodStatus) {
			ip := podAddress(addr).String()
			s.PodIP, s.PodIPs = ip, []corev1.PodIP{{IP: ip}}
		})
	}
	return d
}

// By the pod proxy a viewer reaches no agent: GET /latency/20ms is a change. Who may edit does.
func TestProxyByPeople(t *testing.T) {
	eventuallyInjects(t)
	d := newFleet(t).proxied(newNamespace(t))
	get := func(p person, path string) (string, error) {
		kubectl := kubectl{path: world.kubectl.path, kubeconfig: p.kubeconfig, cache: t.TempDir()}
		return kubectl.output(t.Context(), "get", "--raw",
			fmt.Sprintf("/api/v1/namespaces/%s/pods/basic-tikv-0:%d/proxy%s", d.namespace.name, agentPort, path))
	}
	viewer, editor := d.person("viewer", viewRoles...), d.person("editor", editRoles...)
	viewer.may(access{Verb: "list", Resource: "pods"})
	editor.may(access{Verb: "get", Resource: "pods", Subresource: "proxy"})
	if out, err := get(editor, "/readyz"); err != nil {
		t.Errorf("who may edit gets %s, %v", out, err)
	}
	for _, path := range []string{"/latency/20ms", "/v1/faults", "/readyz"} {
		if out, err := get(viewer, path); err == nil || !strings.Contains(err.Error(), "Forbidden") {
			t.Errorf("%s: a viewer gets %s, %v", path, out, err)
		}
	}
	if got := d.agents["basic-tikv-0"].Faults(); len(got) > 0 {
		t.Errorf("the agent holds %v", got)
	}
}

// Each verb works with the rights that docs/security.md gives it. Without any one of them it
// fails and says that it is forbidden, or says what it can't see.
func TestPluginRights(t *testing.T) {
	eventuallyInjects(t)
	table := readLeast(t)
	d := newFleet(t).proxied(newNamespace(t))
	d.create("there", "")
	d.make(d.topology("ground", "spread: 3"))
	nothing := func(person) {}
	for name, test := range map[string]struct {
		row  string
		args []string
		// before makes what the verb works on; user is part of its name.
		before func(p person)
	}{
		"status":    {"status, roles", []string{"status", "basic"}, nothing},
		"roles":     {"status, roles", []string{"roles", "basic"}, nothing},
		"set":       {"set, partition", []string{"set", "basic", "1ms", "--from=tikv", "--name=USER"}, nothing},
		"partition": {"set, partition", []string{"partition", "basic", "--from=tikv(0)", "--name=USER"}, nothing},
		"set again": {"set, partition again", []string{"set", "basic", "1ms", "--from=tikv", "--name=USER"}, func(p person) { p.make(p.fault(p.user, "")) }},
		"partition again": {"set, partition again", []string{"partition", "basic", "--from=tikv(0)", "--name=USER"}, func(p person) {
			p.make(p.fault(p.user, "from: ['tikv(0)'], to: [others], rtt: null, partition: true"))
		}},
		"topology": {"topology", []string{"topology", "basic", "--profile=three-az", "--spread=3", "--name=USER"}, nothing},
		"topology again": {"topology again", []string{"topology", "basic", "--profile=two-region", "--spread=2", "--name=USER"}, func(p person) {
			p.make(p.topology(p.user, "spread: 3"))
		}},
		"clear": {"clear", []string{"clear", "fault/USER", "topology/USER"}, func(p person) {
			p.make(p.fault(p.user, ""))
			p.make(p.topology(p.user, "spread: 3"))
		}},
		"matrix":  {"matrix", []string{"matrix", "basic"}, nothing},
		"version": {"preview, version, completion", []string{"version", "--client"}, nothing},
	} {
		t.Run(name, func(t *testing.T) {
			row, ok := table[test.row]
			if !ok {
				t.Fatalf("docs/security.md has no row %q; it has %q", test.row, table)
			}
			run := func(t *testing.T, user string, rights []access) said {
				t.Helper()
				n := d.namespace
				n.t = t
				p := n.person(strings.ReplaceAll(user, " ", "-"))
				p.allow(rights...)
				test.before(p)
				args := slices.Clone(test.args)
				for i := range args {
					args[i] = strings.ReplaceAll(args[i], "USER", p.user)
				}
				return p.runs(args...)
			}
			t.Run("with all", func(t *testing.T) {
				t.Parallel()
				got := run(t, name+"-all", slices.Concat(row.needs, row.tells))
				got.wants(t, 0)
				if words := got.out + got.errOut; strings.Contains(words, "may not") || strings.Contains(words, "forbidden") {
					t.Errorf("with all rights it lacks one: %s", words)
				}
			})
			for i, lacked := range slices.Concat(row.needs, row.tells) {
				isNeeded := i < len(row.needs)
				if !isNeeded && slices.Contains(row.needs, lacked) {
					continue
				}
				user := name + "-" + lacked.Verb + "-" + lacked.Resource + lacked.Subresource
				t.Run("without "+lacked.Verb+" "+lacked.Resource+lacked.Subresource, func(t *testing.T) {
					t.Parallel()
					rights := slices.DeleteFunc(slices.Concat(row.needs, row.tells), func(a access) bool { return a == lacked })
					got := run(t, user, rights)
					if isNeeded {
						got.wants(t, 1)
						if !strings.Contains(got.errOut, "forbidden") && !strings.Contains(got.out+got.errOut, "may not ") {
							t.Errorf("it does not say what is forbidden: %s%s", got.out, got.errOut)
						}
						return
					}
					got.wants(t, 0, "you may not ")
				})
			}
		})
	}
}
