// Package agents reaches the agents of pods through the API server's pod proxy, with the rights
// of the person who asks: a laptop needs a kubeconfig and no route to the pods. The right is
// "get", to measure "create", and for changes "update" or "delete", on pods/proxy.
package agents

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
	ctrlclient "sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/client"
	"github.com/tidelay/tidelay/pkg/injection"
)

// Proxy is the way to agents through an API server. It can be used concurrently.
type Proxy struct {
	base      string // the API server's URL, without a slash at the end
	transport http.RoundTripper
	secrets   ctrlclient.Reader

	mu     sync.Mutex
	tokens map[ctrlclient.ObjectKey]token
}

// token is what a Secret held, and until when it is believed.
type token struct {
	value string
	until time.Time
}

// tokenLife is how long a token is used before its Secret is read again, which may have changed.
const tokenLife = 30 * time.Second

// New returns the way to agents through the API server of a configuration. Tokens of agents are
// read from Secrets by secrets. It sends nothing.
func New(config *rest.Config, secrets ctrlclient.Reader) (*Proxy, error) {
	base, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, fmt.Errorf("parse API server's URL: %w", err)
	}
	transport, err := rest.TransportFor(config)
	if err != nil {
		return nil, fmt.Errorf("prepare connection to API server: %w", err)
	}
	return &Proxy{
		base: strings.TrimRight(base.String(), "/"), transport: transport, secrets: secrets,
		tokens: map[ctrlclient.ObjectKey]token{},
	}, nil
}

// Of returns a client of the agent in a pod, and in no other pod of that name. Where agents ask
// for a token, it is read from the Secret that the pod's agent has it from.
func (p *Proxy) Of(ctx context.Context, pod *corev1.Pod) (*client.Client, error) {
	value, err := p.tokenOf(ctx, pod)
	if err != nil {
		return nil, err
	}
	address := p.base + "/api/v1/namespaces/" + url.PathEscape(pod.Namespace) + "/pods/" +
		url.PathEscape(pod.Name+":"+strconv.Itoa(api.Port)) + "/proxy"
	return client.New(address, client.Options{Token: value, PodUID: string(pod.UID), Transport: p.transport})
}

// tokenOf returns the token of the agent in a pod; "" where it asks for none.
func (p *Proxy) tokenOf(ctx context.Context, pod *corev1.Pod) (string, error) {
	name := injection.TokenSecretOf(pod)
	if name == "" {
		return "", nil
	}
	key := ctrlclient.ObjectKey{Namespace: pod.Namespace, Name: name}
	p.mu.Lock()
	known, ok := p.tokens[key]
	p.mu.Unlock()
	if ok && time.Now().Before(known.until) {
		return known.value, nil
	}
	value, err := p.read(ctx, key)
	if err != nil {
		return "", err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tokens[key] = token{value, time.Now().Add(tokenLife)}
	return value, nil
}

func (p *Proxy) read(ctx context.Context, key ctrlclient.ObjectKey) (string, error) {
	var secret corev1.Secret
	if err := p.secrets.Get(ctx, key, &secret); err != nil {
		return "", fmt.Errorf("read the agents' token: %w", err)
	}
	value := strings.TrimSpace(string(secret.Data[injection.TokenKey]))
	if value == "" {
		return "", fmt.Errorf("read the agents' token: Secret %s has no key %q, or an empty one", key, injection.TokenKey)
	}
	return value, nil
}

// Outcome says how a request to an agent went, and who answered it.
type Outcome string

// The outcomes of a request.
const (
	// Answered is an answer of the agent, also one that is an error.
	Answered Outcome = "Answered"
	// Forbidden is the API server's: the person has no right to use the pod's proxy, or to read
	// the agents' token.
	Forbidden Outcome = "Forbidden"
	// Unreachable is that nobody answers at the pod's port, or not in time.
	Unreachable Outcome = "Unreachable"
	// Failed is everything else: no way to the API server, or an answer that nobody understands.
	Failed Outcome = "Failed"
)

// IsOld reports whether an agent does not know a request, because it is older than that.
func IsOld(err error) bool {
	refusal, is := errors.AsType[*client.Error](err)
	return is && refusal.Type != "" && refusal.Status == http.StatusNotFound
}

// OutcomeOf says what the error of a request means.
func OutcomeOf(err error) Outcome {
	refusal, isRefusal := errors.AsType[*client.Error](err)
	switch {
	case err == nil, isRefusal && refusal.Type != "":
		return Answered
	case apierrors.IsForbidden(err), isRefusal && refusal.Status == http.StatusForbidden:
		return Forbidden
	case client.IsTimeout(err), isRefusal && (refusal.Status == http.StatusServiceUnavailable || refusal.Status == http.StatusBadGateway || refusal.Status == http.StatusGatewayTimeout):
		return Unreachable
	default:
		return Failed
	}
}

// MissingRight names the right without which a request was Forbidden: that to the agents' token,
// which is read first, or that to use some verbs of the pods' proxy.
func MissingRight(err error, verbs string) string {
	if apierrors.IsForbidden(err) {
		return "get the Secret with the agents' token"
	}
	return verbs + " pods/proxy"
}
