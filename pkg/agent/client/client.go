package client

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// MaxAnswer is how many bytes of an answer are read, far above the largest
// that an agent sends. A longer one is an error.
const MaxAnswer = 8 << 20

// Options say how a client connects to its agent. The zero value connects to the
// base URL's host, sends no token, and takes whichever pod is there.
type Options struct {
	// Token is the agent's; empty for none. It is sent as api.HeaderToken and not
	// as Authorization, which is for what is between: the API server's pod proxy
	// reads it and does not pass it on.
	Token string
	// PodUID is the UID of the pod that the agent is in; empty for whichever pod the
	// URL leads to. It is sent as api.HeaderPod with each request. If another pod has
	// the address by then, the error has status 421, and nothing was changed. Health
	// and Ready are answered by whichever pod is there, and so is every request by an
	// agent that does not know its UID.
	PodUID string
	// MaxAnswer is how many bytes of an answer are read; MaxAnswer if it is 0.
	MaxAnswer int
	// DialContext makes the connections, instead of a net.Dialer.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
	// Transport sends the requests, instead of an http.Transport of the client's
	// own; not together with DialContext. Clients can share one.
	Transport http.RoundTripper
}

// Client talks to one agent. Its methods can be called concurrently.
type Client struct {
	base   string // without a slash at the end
	token  string
	podUID string
	most   int // bytes of an answer
	http   *http.Client
}

// URL is where the agent of the pod with this IP address listens:
// "http://10.0.0.5:2332", "http://[fd00::5]:2332".
func URL(podIP string) string {
	return "http://" + net.JoinHostPort(podIP, strconv.Itoa(api.Port))
}

// New returns a client of the agent at a base URL: that of URL, or one whose
// path leads to the agent, such as the API server's
// https://SERVER/api/v1/namespaces/NAMESPACE/pods/POD:2332/proxy. It sends
// nothing.
func New(base string, o Options) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, fmt.Errorf("parse agent's URL: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, fmt.Errorf("agent's URL %q: want http://HOST:PORT or https://HOST:PORT, with a path or without one", base)
	}
	if o.Transport != nil && o.DialContext != nil {
		return nil, errors.New("agent's client: want Transport or DialContext, not both")
	}
	if o.PodUID != "" && !api.IsPodUID(o.PodUID) {
		return nil, fmt.Errorf("agent's client: PodUID %q: %s; or none", api.Shorten(o.PodUID), api.PodUIDAccepted)
	}
	transport := o.Transport
	if transport == nil {
		transport = &http.Transport{DialContext: o.DialContext, MaxIdleConns: 2, IdleConnTimeout: 30 * time.Second}
	}
	return &Client{
		base:   strings.TrimRight(u.String(), "/"),
		token:  o.Token,
		podUID: o.PodUID,
		most:   cmp.Or(o.MaxAnswer, MaxAnswer),
		// A redirect is no answer of an agent, and must not get its token.
		http: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}, nil
}

// CloseIdleConnections closes the connections that no call uses.
func (c *Client) CloseIdleConnections() { c.http.CloseIdleConnections() }

// request is one call.
type request struct {
	method, path string // the path escaped
	query        url.Values
	ifMatch      string
	body         any // nil for none
}

// ask sends a request and decodes the answer's JSON.
func ask[T any](ctx context.Context, c *Client, r request) (Answer[T], error) {
	header, content, err := c.send(ctx, r)
	if err != nil {
		return Answer[T]{}, err
	}
	answer := Answer[T]{ETag: header.Get("ETag")}
	if err := json.Unmarshal(content, &answer.Body); err != nil {
		return Answer[T]{}, fmt.Errorf("%s %s: decode answer: %w", r.method, r.path, err)
	}
	return answer, nil
}

// send returns the header and the body of an answer with status 200. The error
// names the request, and wraps an *Error for another status.
func (c *Client) send(ctx context.Context, r request) (http.Header, []byte, error) {
	header, content, err := c.exchange(ctx, r)
	if err != nil {
		return nil, nil, fmt.Errorf("%s %s: %w", r.method, r.path, err)
	}
	return header, content, nil
}

func (c *Client) exchange(ctx context.Context, r request) (http.Header, []byte, error) {
	request, err := c.newRequest(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	response, err := c.http.Do(request)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // without the method and the URL, which the caller adds
		}
		return nil, nil, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(io.LimitReader(response.Body, int64(c.most)+1))
	if err != nil {
		return nil, nil, fmt.Errorf("read answer: %w", err)
	}
	if len(content) > c.most {
		return nil, nil, fmt.Errorf("answer is longer than %d bytes", c.most)
	}
	if response.StatusCode != http.StatusOK {
		return nil, nil, newError(response.StatusCode, response.Header, content)
	}
	return response.Header, content, nil
}

func (c *Client) newRequest(ctx context.Context, r request) (*http.Request, error) {
	target := c.base + r.path
	if len(r.query) > 0 {
		target += "?" + r.query.Encode()
	}
	var body io.Reader
	if r.body != nil {
		content, err := json.Marshal(r.body)
		if err != nil {
			return nil, fmt.Errorf("encode body: %w", err)
		}
		body = bytes.NewReader(content)
	}
	request, err := http.NewRequestWithContext(ctx, r.method, target, body)
	if err != nil {
		return nil, err
	}
	if r.body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if r.ifMatch != "" {
		request.Header.Set("If-Match", r.ifMatch)
	}
	if c.token != "" {
		request.Header.Set(api.HeaderToken, c.token)
	}
	if c.podUID != "" {
		request.Header.Set(api.HeaderPod, c.podUID)
	}
	return request, nil
}
