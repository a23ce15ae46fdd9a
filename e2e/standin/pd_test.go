package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fakePods lists two PDs, and no TiKV in the cluster basic.
func fakePods(_ context.Context, port, service, namespace string) ([]pod, error) {
	if port == "tcp-peer-2380" && service == "basic-pd-peer" && namespace == "db" {
		return []pod{
			{name: "basic-pd-0", host: "basic-pd-0.basic-pd-peer.db.svc", ordinal: 0},
			{name: "basic-pd-1", host: "basic-pd-1.basic-pd-peer.db.svc", ordinal: 1},
		}, nil
	}
	return nil, &net.DNSError{IsNotFound: true}
}

func testPD(t *testing.T) *httptest.Server {
	t.Helper()
	p, err := newPD("basic-pd", "db", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	p.pods = fakePods
	s := httptest.NewUnstartedServer(nil)
	s.Config = p.server("")
	s.Start()
	t.Cleanup(s.Close)
	return s
}

func TestPD(t *testing.T) {
	first := map[string]any{
		"name": "basic-pd-0", "member_id": 1001.0,
		"peer_urls":   []any{"http://basic-pd-0.basic-pd-peer.db.svc:2380"},
		"client_urls": []any{"http://basic-pd-0.basic-pd-peer.db.svc:2379"},
	}
	second := map[string]any{
		"name": "basic-pd-1", "member_id": 1002.0,
		"peer_urls":   []any{"http://basic-pd-1.basic-pd-peer.db.svc:2380"},
		"client_urls": []any{"http://basic-pd-1.basic-pd-peer.db.svc:2379"},
	}
	noStores := map[string]any{"count": 0.0, "stores": []any{}}
	tests := map[string]struct {
		path string
		want any
	}{
		"the first member leads":  {"/pd/api/v1/leader", first},
		"members are the pods":    {"/pd/api/v1/members", map[string]any{"members": []any{first, second}, "leader": first, "etcd_leader": first}},
		"before TiKV, no stores":  {"/pd/api/v1/stores", noStores},
		"there are no tombstones": {"/pd/api/v1/stores?state=2", noStores},
		"there are no schedulers": {"/pd/api/v1/schedulers", []any{}},
	}
	s := testPD(t)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			answer, err := s.Client().Get(s.URL + test.path)
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			var got any
			if err := json.NewDecoder(answer.Body).Decode(&got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("GET %s (-want +got):\n%s", test.path, diff)
			}
		})
	}
}

func TestEtcdRange(t *testing.T) {
	s := testPD(t)
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	client := http.Client{Transport: &http.Transport{Protocols: &protocols}}
	answer, err := client.Post(s.URL+"/etcdserverpb.KV/Range", "application/grpc", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	if status := answer.Trailer.Get("Grpc-Status"); len(body) != 5 || status != "0" {
		t.Errorf("body %v, Grpc-Status %q: want an empty message and 0", body, status)
	}
}

func TestPodAt(t *testing.T) {
	const domain = "basic-tikv-peer.db.svc"
	got, err := podAt("basic-tikv-12."+domain+".cluster.local.", domain)
	want := pod{name: "basic-tikv-12", host: "basic-tikv-12." + domain, ordinal: 12}
	if err != nil || got != want {
		t.Errorf("podAt: got %+v, %v, want %+v", got, err, want)
	}
	if _, err := podAt("10-0-0-x."+domain, domain); err == nil {
		t.Error("podAt of a name without an ordinal: want an error")
	}
}

func TestServersOfUnknownComponent(t *testing.T) {
	if _, err := serversOf("pump", func(string) string { return "" }); err == nil {
		t.Error("serversOf(pump): want an error")
	}
}

func TestComponentOf(t *testing.T) {
	for _, test := range []struct{ script, service, want string }{
		{"/usr/local/bin/tikv_start_script.sh", "my-db-tikv-peer", "tikv"},
		{"/usr/local/bin/pd_start_script.sh", "", "pd"},
		{"-c", "my-db-ticdc-peer", "ticdc"},
		{"-c", "basic-tiflash-peer", "tiflash"},
		{"-c", "", ""},
	} {
		if got := componentOf(test.script, test.service); got != test.want {
			t.Errorf("componentOf(%q, %q): %q, want %q", test.script, test.service, got, test.want)
		}
	}
}
