package forward

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
)

const (
	// connectTimeout bounds connecting to another replica, TLS included. It is half of
	// what an admission has by default.
	connectTimeout = time.Second
	// maxSize is the size in bytes of the largest admission, and of the largest answer,
	// that is passed on. It is what controller-runtime reads of an admission.
	maxSize = 7 << 20
	// maxHops is how often an admission is passed on.
	maxHops = 2
	// hopsHeader says how often an admission has been passed on.
	hopsHeader = "Tidelay-Hops"
)

// The results of passing an admission on, as a label of the metric.
const (
	answered = "answered"
	failed   = "failed"
)

// Options has the parts of a Forwarder. All fields are required.
type Options struct {
	// Replicas knows the replicas of the injector.
	Replicas *Replicas
	// CAs returns the CAs that sign the replicas' certificates.
	CAs func() *x509.CertPool
	// ServerName is the DNS name in the replicas' certificates.
	ServerName string
	// Metrics is where the metric is registered.
	Metrics prometheus.Registerer
}

// Forwarder passes admissions on to a newer replica.
type Forwarder struct {
	replicas  *Replicas
	transport http.RoundTripper
	forwarded *prometheus.CounterVec
}

// New returns a Forwarder. It fails if the metric cannot be registered.
func New(o Options) (*Forwarder, error) {
	f := &Forwarder{
		replicas:  o.Replicas,
		transport: newTransport(o.CAs, o.ServerName),
		forwarded: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidelay_admissions_forwarded_total",
			Help: "Admissions passed on to a newer replica during a rollout. Those that failed were answered by this one.",
		}, []string{"result"}),
	}
	if err := o.Metrics.Register(f.forwarded); err != nil {
		return nil, fmt.Errorf("register tidelay_admissions_forwarded_total: %w", err)
	}
	f.forwarded.WithLabelValues(answered)
	f.forwarded.WithLabelValues(failed)
	return f, nil
}

// newTransport returns a transport that makes a connection for each request, so that
// none is sent on one that the other replica is about to close.
func newTransport(cas func() *x509.CertPool, serverName string) *http.Transport {
	return &http.Transport{
		DisableKeepAlives: true,
		DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, connectTimeout)
			defer cancel()
			dialer := tls.Dialer{Config: &tls.Config{RootCAs: cas(), ServerName: serverName, MinVersion: tls.VersionTLS12}}
			return dialer.DialContext(ctx, network, address)
		},
	}
}

// Wrap returns a handler that passes requests on to a newer replica, and has next answer
// those for which there is none or which it did not answer.
func (f *Forwarder) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if answer, ok := f.ask(r); ok {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(answer)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// ask returns the answer of a newer replica to r. If ok is false there is none, and r
// can be read as if it had not been.
func (f *Forwarder) ask(r *http.Request) (answer []byte, ok bool) {
	hops := hopsOf(r)
	if hops >= maxHops {
		return nil, false
	}
	ctx, cancel := attempt(r.Context())
	defer cancel()
	log := logf.FromContext(ctx)
	newer, ok, err := f.replicas.successor(ctx)
	if err != nil {
		log.Error(err, "the injector's replicas are not known; this one answers")
	}
	if !ok {
		return nil, false
	}
	answer, err = f.send(ctx, r, newer, hops+1)
	if err != nil {
		f.forwarded.WithLabelValues(failed).Inc()
		log.Error(err, "a newer replica does not answer; this one does", "replica", newer.name)
		return nil, false
	}
	f.forwarded.WithLabelValues(answered).Inc()
	log.V(1).Info("admission answered by a newer replica", "replica", newer.name)
	return answer, true
}

// attempt returns a context with three quarters of the time that ctx has left. The rest
// is for answering without the other replica.
func attempt(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Until(deadline)*3/4)
}

// hopsOf returns how often r has been passed on. Nonsense counts as often enough.
func hopsOf(r *http.Request) int {
	value := r.Header.Get(hopsHeader)
	if value == "" {
		return 0
	}
	hops, err := strconv.Atoi(value)
	if err != nil || hops < 0 {
		return maxHops
	}
	return hops
}

// send sends r to another replica and returns its answer. Afterwards the body of r can
// be read from its beginning.
func (f *Forwarder) send(ctx context.Context, r *http.Request, to replica, hops int) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxSize))
	r.Body = replay{io.MultiReader(bytes.NewReader(body), r.Body), r.Body}
	switch {
	case err != nil:
		return nil, fmt.Errorf("read admission: %w", err)
	case len(body) == maxSize:
		return nil, fmt.Errorf("the admission has %d bytes or more", maxSize)
	}
	url := *r.URL
	url.Scheme, url.Host = "https", to.address
	request, err := http.NewRequestWithContext(ctx, r.Method, url.String(), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	request.Header.Set("Content-Type", r.Header.Get("Content-Type"))
	request.Header.Set(hopsHeader, strconv.Itoa(hops))
	response, err := f.transport.RoundTrip(request)
	if err != nil {
		return nil, fmt.Errorf("call %s: %w", to.address, err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxSize))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read answer of %s: %w", to.address, err)
	case response.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%s answered %s", to.address, response.Status)
	case len(answer) == 0 || len(answer) == maxSize:
		return nil, fmt.Errorf("%s answered %d bytes, want 1 to %d", to.address, len(answer), maxSize-1)
	}
	return answer, nil
}

// replay is a body that can be read again from its beginning.
type replay struct {
	io.Reader
	io.Closer
}
