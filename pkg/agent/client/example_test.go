package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/client"
)

// podUID is the UID of the pod that pod stands for.
const podUID = "0b0e6d53-93a6-4a3e-8a5e-52f3c6f0a1de"

// pod stands for an agent that has a fault of version 1 and does what it is
// asked, unless another pod is meant.
func pod() *httptest.Server {
	const etag = `"v1"`
	answer := func(w http.ResponseWriter, status int, body any) {
		if status != http.StatusOK {
			w.Header().Set("Content-Type", api.ContentTypeProblem)
		}
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(body)
	}
	mux := http.NewServeMux()
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if uid := r.Header.Get(api.HeaderPod); uid != "" && uid != podUID {
			answer(w, http.StatusMisdirectedRequest, api.Problem{Type: "about:blank", Status: 421, Detail: "this is another pod"})
			return
		}
		mux.ServeHTTP(w, r)
	})
	mux.HandleFunc("GET /latency/{delay}", func(w http.ResponseWriter, r *http.Request) {
		delay := r.PathValue("delay")
		answer(w, http.StatusOK, api.Latency{Fault: &api.Fault{Name: "latency", Delay: delay}, RTT: "+" + delay})
	})
	mux.HandleFunc("GET /v1/faults", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("ETag", etag)
		answer(w, http.StatusOK, api.FaultSet{Faults: []api.Fault{{Name: "slow-store", Delay: "20ms"}}})
	})
	mux.HandleFunc("PUT /v1/faults/{name}", func(w http.ResponseWriter, r *http.Request) {
		if match := r.Header.Get("If-Match"); match != "" && match != etag {
			answer(w, http.StatusPreconditionFailed, api.Problem{Type: "about:blank", Status: 412, Detail: "the faults changed"})
			return
		}
		answer(w, http.StatusOK, api.Changes{Applied: true, Changes: []api.Change{{Name: r.PathValue("name"), Action: api.ActionAdd}}})
	})
	return httptest.NewServer(handler)
}

// Delay everything that leaves a pod.
func Example() {
	server := pod()
	defer server.Close()
	agent, err := client.New(server.URL, client.Options{}) // in a cluster: client.URL(pod.Status.PodIP)
	if err != nil {
		fmt.Println(err)
		return
	}
	latency, err := agent.SetLatency(context.Background(), client.Delay{Delay: "20ms", Duration: "10m"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("ping shows", latency.Body.RTT)
	// Output: ping shows +20ms
}

// Change a set of faults only if nobody else changed it meanwhile.
func ExampleIfMatch() {
	server := pod()
	defer server.Close()
	agent, err := client.New(server.URL, client.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	now, err := agent.Faults(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	loss := api.Fault{Name: "lossy-pd", Peers: []string{"10.0.0.7"}, Loss: &api.Loss{Percent: 5}}
	changes, err := agent.SetFault(ctx, loss, client.IfMatch(now.ETag))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, change := range changes.Body.Changes {
		fmt.Println(change.Action, change.Name)
	}
	// Output: add lossy-pd
}

// Change nothing in another pod that got the address meanwhile.
func ExampleOptions_podUID() {
	server := pod()
	defer server.Close()
	const gone = "5f0e4c9a-6f0b-4c55-9d51-0d6a2d3f7b10" // in a cluster: string(pod.UID)
	agent, err := client.New(server.URL, client.Options{PodUID: gone})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = agent.DeleteFaults(context.Background())
	var refused *client.Error
	if errors.As(err, &refused) && refused.Status == http.StatusMisdirectedRequest {
		fmt.Println("look the pod up again:", refused.Detail)
	}
	// Output: look the pod up again: this is another pod
}

// Tell the statuses of errors apart.
func ExampleError() {
	server := pod()
	defer server.Close()
	agent, err := client.New(server.URL, client.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = agent.SetFault(context.Background(), api.Fault{Name: "a", Delay: "1ms"}, client.IfMatch(`"v0"`))
	var refused *client.Error
	if errors.As(err, &refused) && refused.Status == http.StatusPreconditionFailed {
		fmt.Println("read again:", refused.Detail)
	}
	// Output: read again: the faults changed
}
