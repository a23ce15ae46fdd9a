package forward

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// fakeCache has pods, each of which belongs to a ReplicaSet that has its name and this
// revision.
type fakeCache struct {
	client.Reader
	pods      []corev1.Pod
	revisions map[string]string
	err       error
}

func (c *fakeCache) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	switch list := list.(type) {
	case *corev1.PodList:
		list.Items = c.pods
	case *metav1.PartialObjectMetadataList:
		for name, revision := range c.revisions {
			set := metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: name}}
			set.Annotations = map[string]string{revisionAnnotation: revision}
			list.Items = append(list.Items, set)
		}
	default:
		return fmt.Errorf("list of %T", list)
	}
	return c.err
}

// add adds a ready pod at the address host:port.
func (c *fakeCache) add(t *testing.T, name, revision, address string) {
	t.Helper()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.ParseInt(port, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	pod := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, OwnerReferences: []metav1.OwnerReference{{Name: name, Controller: new(true)}}}}
	pod.Spec.Containers = []corev1.Container{{Ports: []corev1.ContainerPort{{Name: portName, ContainerPort: int32(number)}}}}
	pod.Status.PodIP = host
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	c.pods = append(c.pods, pod)
	if c.revisions == nil {
		c.revisions = map[string]string{}
	}
	c.revisions[name] = revision
}

// newerReplica serves handler by TLS.
func newerReplica(t *testing.T, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

// old is a replica of revision 1 that answers "old: " and what it was asked.
type old struct {
	cache     *fakeCache
	forwarder *Forwarder
	handler   http.Handler
	time      time.Duration // for an answer
}

// newOld returns an old replica that trusts certificates of server.
func newOld(t *testing.T, server *httptest.Server) *old {
	t.Helper()
	o := &old{cache: &fakeCache{}, time: time.Minute}
	o.cache.add(t, "old", "1", "127.0.0.1:1")
	cas := x509.NewCertPool()
	cas.AddCert(server.Certificate())
	var err error
	o.forwarder, err = New(Options{
		Replicas: &Replicas{Cache: o.cache, Namespace: "n", Self: "old"},
		CAs:      func() *x509.CertPool { return cas }, ServerName: "example.com",
		Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	o.handler = o.forwarder.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		_, _ = io.WriteString(w, "old: "+string(body))
	}))
	return o
}

// ask asks the old replica and returns its answer.
func (o *old) ask(t *testing.T, body, hops string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), o.time)
	defer cancel()
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/inject?timeout=3s", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	if hops != "" {
		r.Header.Set(hopsHeader, hops)
	}
	w := httptest.NewRecorder()
	o.handler.ServeHTTP(w, r)
	if ctx.Err() != nil {
		t.Error("the answer is late")
	}
	return w.Body.String()
}

func (o *old) count(result string) int {
	return int(testutil.ToFloat64(o.forwarder.forwarded.WithLabelValues(result)))
}

func TestForward(t *testing.T) {
	server := newerReplica(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(w, "new: %s %s %s %s %s", r.Method, r.URL, r.Header.Get("Content-Type"), r.Header.Get(hopsHeader), body)
	})
	o := newOld(t, server)
	if got := o.ask(t, "a", ""); got != "old: a" {
		t.Errorf("alone it answered %q", got)
	}
	o.cache.add(t, "new", "2", server.Listener.Addr().String())
	tests := map[string]struct{ hops, want string }{
		"an admission":                     {"", "new: POST /inject?timeout=3s application/json 1 a"},
		"one that was passed on":           {"1", "new: POST /inject?timeout=3s application/json 2 a"},
		"one that was passed on twice":     {"2", "old: a"},
		"one that was passed on more":      {"3", "old: a"},
		"one of which nobody knows":        {"x", "old: a"},
		"one that was passed on -1 times":  {"-1", "old: a"},
		"one that was passed on 1e9 times": {"1000000000000000000000", "old: a"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := o.ask(t, "a", test.hops); got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
	if o.count(answered) != 2 || o.count(failed) != 0 {
		t.Errorf("counted %d answered and %d failed, want 2 and 0", o.count(answered), o.count(failed))
	}
	// A rollback makes the old revision the newest.
	o.cache.revisions["old"] = "3"
	if got := o.ask(t, "a", ""); got != "old: a" {
		t.Errorf("after a rollback it answered %q", got)
	}
}

// What the newer replica does wrong, and that nobody's certificate is taken for it: the
// old one answers, in time and to the same admission.
func TestForwardFails(t *testing.T) {
	good := newerReplica(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "new") })
	for name, handler := range map[string]http.HandlerFunc{
		"with an error": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"with a redirection": func(w http.ResponseWriter, _ *http.Request) {
			http.Redirect(w, &http.Request{}, good.URL, http.StatusTemporaryRedirect)
		},
		"nothing": func(http.ResponseWriter, *http.Request) {},
		"half an answer": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "half")
		},
		// Until it hears that nobody waits for its answer any more.
		"never": func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		},
	} {
		t.Run("it answers "+name, func(t *testing.T) {
			server := newerReplica(t, handler)
			o := newOld(t, server)
			o.cache.add(t, "new", "2", server.Listener.Addr().String())
			o.time = 4 * time.Second
			o.wantFailed(t)
		})
	}
	t.Run("nobody listens", func(t *testing.T) {
		server := newerReplica(t, func(http.ResponseWriter, *http.Request) {})
		o := newOld(t, server)
		o.cache.add(t, "new", "2", server.Listener.Addr().String())
		server.Close()
		o.wantFailed(t)
	})
	t.Run("it is somebody else", func(t *testing.T) {
		o := newOld(t, good)
		o.cache.add(t, "new", "2", good.Listener.Addr().String())
		o.forwarder.transport = newTransport(x509.NewCertPool, "example.com")
		o.wantFailed(t)
		cas := x509.NewCertPool()
		cas.AddCert(good.Certificate())
		o.forwarder.transport = newTransport(func() *x509.CertPool { return cas }, "tidelay-injector.tidelay-system.svc")
		if got := o.ask(t, "a", ""); got != "old: a" {
			t.Errorf("it answered %q by a certificate for another name", got)
		}
	})
	t.Run("the cache can't be read", func(t *testing.T) {
		o := newOld(t, good)
		o.cache.add(t, "new", "2", good.Listener.Addr().String())
		o.cache.err = errors.New("no cache")
		if got := o.ask(t, "a", ""); got != "old: a" || o.count(failed) != 0 {
			t.Errorf("it answered %q", got)
		}
	})
	t.Run("the admission is too large", func(t *testing.T) {
		o := newOld(t, good)
		o.cache.add(t, "new", "2", good.Listener.Addr().String())
		if got := o.ask(t, strings.Repeat("a", maxSize+1), ""); len(got) != len("old: ")+maxSize+1 {
			t.Errorf("%d bytes reached the handler, want all", len(got)-len("old: "))
		}
	})
}

// wantFailed checks that the old replica answers, and counts that the newer did not.
func (o *old) wantFailed(t *testing.T) {
	t.Helper()
	if got := o.ask(t, "a", ""); got != "old: a" {
		t.Errorf("it answered %q", got)
	}
	if o.count(answered) != 0 || o.count(failed) != 1 {
		t.Errorf("counted %d answered and %d failed, want 0 and 1", o.count(answered), o.count(failed))
	}
}
