package agents_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/client"
	"github.com/tidelay/tidelay/pkg/injection"
	"github.com/tidelay/tidelay/pkg/plugin/agents"
)

// status asks the agent of a pod for its status, through an API server that answers by handle.
func status(t *testing.T, pod *corev1.Pod, secrets []corev1.Secret, handle http.HandlerFunc) error {
	t.Helper()
	server := httptest.NewServer(handle)
	t.Cleanup(server.Close)
	reader := fake.NewClientBuilder().WithLists(&corev1.SecretList{Items: secrets}).Build()
	proxy, err := agents.New(&rest.Config{Host: server.URL + "/clusters/one", BearerToken: "mine"}, reader)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	agent, err := proxy.Of(ctx, pod)
	if err != nil {
		return err
	}
	_, err = agent.Status(ctx)
	return err
}

func pod() *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "db", Name: "basic-pd-0", UID: "uid-1"}}
	p.Spec.Containers = []corev1.Container{{Name: injection.ContainerName, VolumeMounts: []corev1.VolumeMount{{Name: "tidelay-state"}}}}
	return p
}

func withToken(p *corev1.Pod) *corev1.Pod {
	p.Spec.Volumes = []corev1.Volume{{Name: "tidelay-token", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "tokens"}}}}
	return p
}

// The person's own credentials are the API server's, and the agent's token goes through.
func TestRequest(t *testing.T) {
	secret := corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "db", Name: "tokens"}, Data: map[string][]byte{"token": []byte("theirs\n")}}
	err := status(t, withToken(pod()), []corev1.Secret{secret}, func(w http.ResponseWriter, r *http.Request) {
		got := []string{r.URL.Path, r.Header.Get("Authorization"), r.Header.Get(api.HeaderToken), r.Header.Get(api.HeaderPod)}
		want := []string{"/clusters/one/api/v1/namespaces/db/pods/basic-pd-0:2332/proxy/v1/status", "Bearer mine", "theirs", "uid-1"}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("request %q, want %q", got, want)
		}
		_, _ = fmt.Fprint(w, "{}")
	})
	if err != nil {
		t.Error(err)
	}
}

func TestOutcomes(t *testing.T) {
	answer := func(status int, contentType, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.WriteHeader(status)
			_, _ = fmt.Fprint(w, body)
		}
	}
	problem := func(status int) http.HandlerFunc {
		return answer(status, api.ContentTypeProblem, fmt.Sprintf(`{"type":"about:blank","status":%d,"detail":"no"}`, status))
	}
	for name, c := range map[string]struct {
		handle http.HandlerFunc
		want   agents.Outcome
	}{
		"an answer":                 {answer(200, "application/json", "{}"), agents.Answered},
		"an agent's 401":            {problem(401), agents.Answered},
		"an agent's 503":            {problem(503), agents.Answered},
		"no right to the proxy":     {answer(403, "application/json", `{"kind":"Status","reason":"Forbidden"}`), agents.Forbidden},
		"nobody at the port":        {answer(503, "application/json", `{"kind":"Status","message":"error trying to reach service: connection refused"}`), agents.Unreachable},
		"nobody answers in time":    {answer(504, "text/plain", "timeout"), agents.Unreachable},
		"an API server in no hurry": {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, agents.Unreachable},
		"no such pod":               {answer(404, "application/json", `{"kind":"Status","reason":"NotFound"}`), agents.Failed},
		"no answer of an agent":     {answer(200, "text/html", "<html>"), agents.Failed},
	} {
		t.Run(name, func(t *testing.T) {
			if err := status(t, pod(), nil, c.handle); agents.OutcomeOf(err) != c.want {
				t.Errorf("%v: %s, want %s", err, agents.OutcomeOf(err), c.want)
			}
		})
	}
}

// The right that is missing is named: that to the agents' token, or that to the pods' proxy.
func TestMissingRight(t *testing.T) {
	noSecret := fmt.Errorf("read the agents' token: %w", apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "tokens", nil))
	for want, err := range map[string]error{
		"get the Secret with the agents' token": noSecret,
		"get and delete pods/proxy":             &client.Error{Problem: api.Problem{Status: http.StatusForbidden}},
	} {
		if got := agents.MissingRight(err, "get and delete"); got != want || agents.OutcomeOf(err) != agents.Forbidden {
			t.Errorf("%v: %s, %q, want %q", err, agents.OutcomeOf(err), got, want)
		}
	}
}

// A cause is short, and the same each time.
func TestCauses(t *testing.T) {
	answer := func(code int, contentType, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.WriteHeader(code)
			_, _ = fmt.Fprint(w, body)
		}
	}
	const unreachable = `{"kind":"Status","message":"error trying to reach service: dial tcp [fd00::5]:2332: connect: connection refused","code":503}`
	for want, handle := range map[string]http.HandlerFunc{
		"connection refused":                      answer(503, "application/json", unreachable),
		"pods \"x\" not found":                    answer(404, "application/json", `{"kind":"Status","message":"pods \"x\" not found"}`),
		"the API server answered gateway timeout": answer(504, "text/html", "<html>"),
		"want the agent's token":                  answer(401, api.ContentTypeProblem, `{"type":"about:blank","status":401,"detail":"want the agent's token"}`),
		"no answer in time":                       func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	} {
		if err := status(t, pod(), nil, handle); agents.Cause(err) != want {
			t.Errorf("%v is told as %q, want %q", err, agents.Cause(err), want)
		}
	}
}

// All are asked at once, so that one that is silent holds up no other.
func TestAskConcurrently(t *testing.T) {
	const count = 10
	all := make([]*corev1.Pod, count)
	for i := range all {
		all[i] = pod()
	}
	together := make(chan struct{}, count)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		together <- struct{}{}
		for len(together) < count { // nobody is answered before all have asked
			select {
			case <-r.Context().Done():
				return
			case <-time.After(time.Millisecond):
			}
		}
		_, _ = fmt.Fprint(w, "{}")
	}))
	t.Cleanup(server.Close)
	proxy, err := agents.New(&rest.Config{Host: server.URL}, fake.NewClientBuilder().Build())
	if err != nil {
		t.Fatal(err)
	}
	for i, reply := range agents.Ask(t.Context(), agents.Asker{Reach: proxy, Answer: time.Minute}, all, func(ctx context.Context, a *agents.Agent) (api.Status, error) { return a.Status(ctx) }) {
		if reply.Err != nil {
			t.Errorf("agent %d: %v", i, reply.Err)
		}
	}
}

// A Secret that could not be read is read again, and so is one that may have changed.
func TestTokenIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader := fake.NewClientBuilder().Build()
		proxy, err := agents.New(&rest.Config{Host: "https://127.0.0.1:1"}, reader)
		if err != nil {
			t.Fatal(err)
		}
		of := func() error {
			_, err := proxy.Of(t.Context(), withToken(pod()))
			return err
		}
		if err := of(); err == nil {
			t.Error("without the Secret it goes on")
		}
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "db", Name: "tokens"}, Data: map[string][]byte{"token": []byte("one")}}
		if err := reader.Create(t.Context(), secret); err != nil {
			t.Fatal(err)
		}
		if err := of(); err != nil {
			t.Error(err)
		}
		if err := reader.Delete(t.Context(), secret); err != nil {
			t.Fatal(err)
		}
		if err := of(); err != nil {
			t.Errorf("a moment later: %v", err)
		}
		time.Sleep(time.Minute)
		if err := of(); err == nil {
			t.Error("a minute later the Secret is not read again")
		}
	})
}

// Without the Secret there is no request: an agent would refuse it.
func TestNoToken(t *testing.T) {
	err := status(t, withToken(pod()), nil, func(http.ResponseWriter, *http.Request) { t.Error("a request was sent") })
	if agents.OutcomeOf(err) != agents.Failed {
		t.Errorf("%v: %s", err, agents.OutcomeOf(err))
	}
}
