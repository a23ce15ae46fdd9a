//go:build kernel

package etcd

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"time"

	"github.com/tidelay/tidelay/e2e/netlab"
)

const clientPort, peerPort = "2379", "2380"

// A member is one etcd and the agent beside it. Its client speaks etcd's JSON
// API, which is its gRPC API in another form:
// https://etcd.io/docs/v3.6/dev-guide/api_grpc_gateway/
type member struct {
	host  *netlab.Host
	agent *agent
	// id is etcd's name for it, once it has answered.
	id     string
	folder string
	http   *http.Client
	cmd    *exec.Cmd
	log    tail
}

// newMember returns a member that is to be started, with a client on a host.
func newMember(host, client *netlab.Host, folder string) *member {
	m := &member{host: host, folder: folder, agent: newAgent(host, client, folder+"-agent")}
	m.http = &http.Client{Transport: &http.Transport{DialContext: client.Dial}}
	return m
}

func (m *member) url(port string) string { return "http://" + net.JoinHostPort(m.host.IP, port) }
func (m *member) peerURL() string        { return m.url(peerPort) }

// start starts etcd, as patient as PD's is: a leader is missed after 3 s. What it
// writes need not outlive the machine.
func (m *member) start(cluster string) error {
	m.cmd = exec.Command(etcdBinary, "--name="+m.host.Name, "--data-dir="+m.folder, "--unsafe-no-fsync", "--log-level=warn",
		"--heartbeat-interval=500", "--election-timeout=3000",
		"--listen-peer-urls="+m.peerURL(), "--initial-advertise-peer-urls="+m.peerURL(), "--initial-cluster="+cluster,
		"--listen-client-urls="+m.url(clientPort), "--advertise-client-urls="+m.url(clientPort))
	m.cmd.Stdout, m.cmd.Stderr = &m.log, &m.log
	if err := m.host.Start(m.cmd); err != nil {
		return fmt.Errorf("start etcd %s: %w", m.host.Name, err)
	}
	return nil
}

func (m *member) kill() {
	if m.cmd != nil && m.cmd.Process != nil {
		_ = m.cmd.Process.Kill()
		_ = m.cmd.Wait()
	}
}

// call asks one method of the API.
func (m *member) call(ctx context.Context, path string, question, answer any) error {
	body, err := json.Marshal(question)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, m.url(clientPort)+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := m.http.Do(request)
	if err != nil {
		return fmt.Errorf("ask %s: %w", m.host.Name, err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("read what %s answers: %w", m.host.Name, err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s: status %d: %s", m.host.Name, path, response.StatusCode, content)
	}
	if err := json.Unmarshal(content, answer); err != nil {
		return fmt.Errorf("parse what %s answers: %w", m.host.Name, err)
	}
	return nil
}

// patience is how long a read may take.
const patience = 5 * time.Second

// read is call for what a member answers by itself.
func (m *member) read(path string, question, answer any) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return m.call(ctx, path, question, answer)
}

// status is what a member says of itself. Numbers are strings in JSON.
type status struct {
	Header struct {
		MemberID string `json:"member_id"`
	} `json:"header"`
	Leader string `json:"leader"`
}

func (m *member) status() (s status, err error) {
	if err = m.read("/v3/maintenance/status", struct{}{}, &s); err == nil {
		m.id = s.Header.MemberID
	}
	return s, err
}

// hash is what a member holds in its latest revision, in short.
type hash struct {
	Hash     int64  `json:"hash"`
	Revision string `json:"hash_revision"`
}

func (m *member) hash() (h hash, err error) {
	err = m.read("/v3/maintenance/hashkv", map[string]int{"revision": 0}, &h)
	return h, err
}

// keys are those that the member itself holds, whoever leads.
func (m *member) keys() (map[string]bool, error) {
	var answer struct {
		Pairs []struct{ Key []byte } `json:"kvs"`
	}
	all := []byte{0}
	question := map[string]any{"key": all, "range_end": all, "serializable": true, "keys_only": true}
	if err := m.read("/v3/kv/range", question, &answer); err != nil {
		return nil, err
	}
	keys := make(map[string]bool)
	for _, p := range answer.Pairs {
		keys[string(p.Key)] = true
	}
	return keys, nil
}

// put writes one key through the member.
func (m *member) put(ctx context.Context, key string) error {
	return m.call(ctx, "/v3/kv/put", map[string]any{"key": []byte(key), "value": []byte("written")}, &struct{}{})
}
