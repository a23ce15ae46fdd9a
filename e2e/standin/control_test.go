package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// testPDs are the two PDs of a cluster with three TiKVs, by their hosts. Each keeps its
// roles in a folder of its own. They are their own network.
type testPDs struct {
	t     *testing.T
	all   map[string]*pd
	hosts []string
}

func newTestPDs(t *testing.T) *testPDs {
	t.Helper()
	pds := &testPDs{t: t, all: map[string]*pd{}, hosts: []string{"a.test:2379", "b.test:2379"}}
	for _, host := range pds.hosts {
		pds.start(host, t.TempDir())
	}
	return pds
}

// start starts the PD of a host, also again.
func (pds *testPDs) start(host, data string) {
	p, err := newPD("basic-pd", "db", data)
	if err != nil {
		pds.t.Fatal(err)
	}
	p.client = &http.Client{Transport: pds}
	p.pods = func(_ context.Context, port, _, _ string) ([]pod, error) {
		switch port {
		case "tcp-peer-2380":
			return []pod{{"basic-pd-0", "a.test", 0}, {"basic-pd-1", "b.test", 1}}, nil
		case "tiflash":
			return []pod{{"basic-tiflash-0", "f.test", 0}}, nil
		default:
			return []pod{{"basic-tikv-0", "x.test", 0}, {"basic-tikv-1", "y.test", 1}, {"basic-tikv-2", "z.test", 2}}, nil
		}
	}
	pds.all[host] = p
}

// RoundTrip implements http.RoundTripper.
func (pds *testPDs) RoundTrip(r *http.Request) (*http.Response, error) {
	p := pds.all[r.URL.Host]
	if p == nil {
		return nil, http.ErrServerClosed
	}
	answer := httptest.NewRecorder()
	p.handler().ServeHTTP(answer, r)
	return answer.Result(), nil
}

// ask sends a request to a PD and decodes its answer, which must have a status.
func (pds *testPDs) ask(host, method, path, body string, want int) map[string]any {
	pds.t.Helper()
	answer := httptest.NewRecorder()
	pds.all[host].handler().ServeHTTP(answer, httptest.NewRequest(method, path, strings.NewReader(body)))
	if answer.Code != want {
		pds.t.Fatalf("%s %s %s: status %d, want %d: %s", host, method, path, answer.Code, want, answer.Body)
	}
	var got map[string]any
	_ = json.Unmarshal(answer.Body.Bytes(), &got) // not every answer is an object
	return got
}

func (pds *testPDs) wantLeader(host, want string) {
	pds.t.Helper()
	members := pds.ask(host, http.MethodGet, "/pd/api/v1/members", "", 200)
	for what, got := range map[string]any{
		"leader":         pds.ask(host, http.MethodGet, "/pd/api/v1/leader", "", 200),
		"leader of all":  members["leader"],
		"leader of etcd": members["etcd_leader"],
	} {
		if m, _ := got.(map[string]any); m["name"] != want {
			pds.t.Errorf("%s says that the %s is %v, want %s", host, what, m["name"], want)
		}
	}
}

func TestSetRoles(t *testing.T) {
	pds := newTestPDs(t)
	data := t.TempDir()
	pds.start("a.test:2379", data)
	pds.wantLeader("a.test:2379", "basic-pd-0")
	got := pds.ask("a.test:2379", http.MethodPut, "/standin/roles", `{"leader":"basic-pd-1","leaders":{"basic-tikv-2":7,"basic-tikv-0":1}}`, 200)
	if got["leader"] != "basic-pd-1" {
		t.Errorf("answer %v", got)
	}
	pds.wantLeader("a.test:2379", "basic-pd-1")
	pds.wantLeader("b.test:2379", "basic-pd-0") // each is told by itself

	pds.start("a.test:2379", data)
	pds.wantLeader("a.test:2379", "basic-pd-1") // and remembers
	var counts []any
	stores, _ := pds.ask("a.test:2379", http.MethodGet, "/pd/api/v1/stores", "", 200)["stores"].([]any)
	for _, s := range stores {
		one, _ := s.(map[string]any)["status"].(map[string]any)
		counts = append(counts, one["leader_count"])
	}
	if diff := cmp.Diff([]any{1.0, 0.0, 7.0, 0.0}, counts); diff != "" {
		t.Errorf("leaders of the stores (-want +got):\n%s", diff)
	}
	tiflash, _ := stores[3].(map[string]any)["store"].(map[string]any)
	want := map[string]any{"id": 101.0, "address": "f.test:3930", "state_name": "Up", "labels": []any{map[string]any{"key": "engine", "value": "tiflash"}}}
	if diff := cmp.Diff(want, tiflash); diff != "" {
		t.Errorf("the store of TiFlash (-want +got):\n%s", diff)
	}

	pds.ask("a.test:2379", http.MethodPut, "/standin/roles", `{"leader":"basic-pd-9"}`, 200)
	pds.wantLeader("a.test:2379", "basic-pd-0") // not a stranger
}

func TestBadRoles(t *testing.T) {
	pds := newTestPDs(t)
	for name, body := range map[string]string{"no JSON": "pd-1", "an unknown field": `{"leeder":"basic-pd-1"}`, "a text for a number": `{"leaders":{"basic-tikv-0":"1"}}`} {
		t.Run(name, func(t *testing.T) {
			pds.ask("a.test:2379", http.MethodPut, "/standin/roles", body, 400)
		})
	}
	pds.wantLeader("a.test:2379", "basic-pd-0")
}

// A file that can't be read must not make two PDs name different leaders.
func TestDamagedRoles(t *testing.T) {
	pds := newTestPDs(t)
	data := t.TempDir()
	if err := os.WriteFile(filepath.Join(data, "standin-roles.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	pds.start("a.test:2379", data)
	for _, path := range []string{"/pd/api/v1/leader", "/pd/api/v1/members", "/pd/api/v1/stores", "/standin/roles"} {
		pds.ask("a.test:2379", http.MethodGet, path, "", 503)
	}
}

func TestTransferLeader(t *testing.T) {
	pds := newTestPDs(t)
	pds.ask("a.test:2379", http.MethodPost, "/pd/api/v1/leader/transfer/basic-pd-1", "", 200)
	for _, host := range pds.hosts {
		pds.wantLeader(host, "basic-pd-1")
	}
	delete(pds.all, "b.test:2379")
	pds.ask("a.test:2379", http.MethodPost, "/pd/api/v1/leader/transfer/basic-pd-0", "", 503) // not told everywhere
}
