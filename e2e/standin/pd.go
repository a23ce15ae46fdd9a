package main

import (
	"context"
	"fmt"
	"hash/fnv"
	"net/http"
	"path/filepath"
	"strings"
)

// A pd answers for one PD of a TidbCluster. The members and the stores are the pods that
// the cluster's DNS knows, all of them healthy. Who leads is what a test has set at this
// PD (control.go).
type pd struct {
	cluster   string // the TidbCluster's name
	namespace string
	pods      podLister
	roles     *rolesFile
	client    *http.Client // for the other PDs
}

// newPD makes the pd of a StatefulSet, whose name TiDB Operator forms as
// <cluster>-pd. It keeps its roles in the folder data.
func newPD(statefulSet, namespace, data string) (*pd, error) {
	cluster, ok := strings.CutSuffix(statefulSet, "-pd")
	if !ok || namespace == "" {
		return nil, fmt.Errorf("SET_NAME=%q NAMESPACE=%q: want <cluster>-pd and a namespace", statefulSet, namespace)
	}
	file := &rolesFile{path: filepath.Join(data, "standin-roles.json")}
	return &pd{cluster: cluster, namespace: namespace, pods: dnsPods, roles: file, client: http.DefaultClient}, nil
}

// A member is one PD, in the words of PD's API.
type member struct {
	Name       string   `json:"name"`
	ID         int      `json:"member_id"`
	PeerURLs   []string `json:"peer_urls"`
	ClientURLs []string `json:"client_urls"`
}

// members lists the PDs.
func (p *pd) members(ctx context.Context) ([]member, error) {
	pods, err := p.pods(ctx, "tcp-peer-2380", p.cluster+"-pd-peer", p.namespace)
	if err != nil {
		return nil, err
	}
	members := make([]member, len(pods))
	for i, pod := range pods {
		members[i] = member{
			Name:       pod.name,
			ID:         1001 + pod.ordinal,
			PeerURLs:   []string{"http://" + pod.host + ":2380"},
			ClientURLs: []string{"http://" + pod.host + ":2379"},
		}
	}
	return members, nil
}

// leader returns which of the members leads.
func (p *pd) leader(members []member) (member, error) {
	now, err := p.roles.get()
	if err != nil {
		return member{}, err
	}
	for _, m := range members {
		if m.Name == now.Leader {
			return m, nil
		}
	}
	return members[0], nil
}

// clusterID returns a number that is unique to the cluster. TiDB Operator makes
// it a label of the cluster's pods.
func (p *pd) clusterID() uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(p.namespace + "/" + p.cluster)) // never fails
	return h.Sum64()
}

// server is the client port: PD's HTTP API, and etcd's over HTTP/2 in plain
// text.
func (p *pd) server(addr string) *http.Server {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{Addr: addr, Handler: p.handler(), Protocols: &protocols}
}

func (p *pd) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /pd/api/v1/cluster", p.getCluster)
	mux.HandleFunc("GET /pd/api/v1/health", p.getHealth)
	mux.HandleFunc("GET /pd/api/v1/leader", p.getLeader)
	mux.HandleFunc("GET /pd/api/v1/members", p.getMembers)
	mux.HandleFunc("GET /pd/api/v1/stores", p.getStores)
	mux.HandleFunc("GET /pd/api/v1/config", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, map[string]any{"replication": map[string]any{}})
	})
	mux.HandleFunc("GET /pd/api/v1/schedulers", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, []string{})
	})
	mux.HandleFunc("POST /pd/api/v1/schedulers", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, "ok")
	})
	mux.HandleFunc("POST /etcdserverpb.KV/Range", etcdRange)
	mux.HandleFunc("POST /pd/api/v1/leader/transfer/{name}", p.transferLeader)
	mux.HandleFunc("GET /standin/roles", p.getRoles)
	mux.HandleFunc("PUT /standin/roles", p.putRoles)
	mux.HandleFunc("PUT /standin/leader/{name}", p.putLeader)
	return mux
}

func (p *pd) getCluster(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, map[string]any{"id": p.clusterID(), "max_peer_count": 3})
}

func (p *pd) getHealth(w http.ResponseWriter, r *http.Request) {
	members, err := p.members(r.Context())
	if err != nil {
		writeError(w, err)
		return
	}
	type health struct {
		member
		Health bool `json:"health"`
	}
	all := make([]health, len(members))
	for i, m := range members {
		all[i] = health{m, true}
	}
	writeJSON(w, all)
}

func (p *pd) getLeader(w http.ResponseWriter, r *http.Request) {
	members, err := p.members(r.Context())
	if err != nil {
		writeError(w, err)
		return
	}
	leader, err := p.leader(members)
	if err != nil {
		writeError(w, err)
		return
	}
	writeJSON(w, leader)
}

func (p *pd) getMembers(w http.ResponseWriter, r *http.Request) {
	members, err := p.members(r.Context())
	if err != nil {
		writeError(w, err)
		return
	}
	leader, err := p.leader(members)
	if err != nil {
		writeError(w, err)
		return
	}
	writeJSON(w, map[string]any{"members": members, "leader": leader, "etcd_leader": leader})
}

// A store is one TiKV or TiFlash, in the words of PD's API.
type store struct {
	Store struct {
		ID        int          `json:"id"`
		Address   string       `json:"address"`
		StateName string       `json:"state_name"`
		Labels    []storeLabel `json:"labels,omitempty"`
	} `json:"store"`
	Status struct {
		LeaderCount int `json:"leader_count"`
		RegionCount int `json:"region_count"`
	} `json:"status"`
}

type storeLabel struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// A storeKind is what the stores of a component have in common.
type storeKind struct {
	component string
	service   string // the name of its port at the headless service
	firstID   int
	port      int
	labels    []storeLabel
}

func storeKinds() []storeKind {
	return []storeKind{
		{component: "tikv", service: "peer", firstID: 1, port: 20160},
		{component: "tiflash", service: "tiflash", firstID: 101, port: 3930, labels: []storeLabel{{"engine", "tiflash"}}},
	}
}

// getStores lists the TiKVs and TiFlashes, all of them up. The list is empty before there
// is one, and for the query of tombstones, state=2.
func (p *pd) getStores(w http.ResponseWriter, r *http.Request) {
	stores := []store{}
	if r.URL.Query().Get("state") != "2" {
		var err error
		if stores, err = p.stores(r.Context()); err != nil {
			writeError(w, err)
			return
		}
	}
	writeJSON(w, map[string]any{"count": len(stores), "stores": stores})
}

func (p *pd) stores(ctx context.Context) ([]store, error) {
	now, err := p.roles.get()
	if err != nil {
		return nil, err
	}
	stores := []store{}
	for _, kind := range storeKinds() {
		pods, err := p.pods(ctx, kind.service, p.cluster+"-"+kind.component+"-peer", p.namespace)
		if err != nil && !notFound(err) {
			return nil, err
		}
		for _, pod := range pods {
			var s store
			s.Store.ID = kind.firstID + pod.ordinal
			s.Store.Address = fmt.Sprintf("%s:%d", pod.host, kind.port)
			s.Store.StateName = "Up"
			s.Store.Labels = kind.labels
			s.Status.LeaderCount = now.Leaders[pod.name]
			s.Status.RegionCount = 1 + now.Leaders[pod.name]
			stores = append(stores, s)
		}
	}
	return stores, nil
}

// etcdRange answers a gRPC range request to PD's etcd with an empty
// RangeResponse. TiDB Operator reads there which TiDBs have gone.
func etcdRange(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/grpc")
	w.Header().Set("Trailer", "Grpc-Status")
	_, _ = w.Write([]byte{0, 0, 0, 0, 0}) // not compressed, length 0
	w.Header().Set("Grpc-Status", "0")
}
