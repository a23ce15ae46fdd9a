package container_test

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/tidelay/tidelay/pkg/injection"
	"github.com/tidelay/tidelay/pkg/plugin/container"
)

func waiting(reason, message string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
}

func ended(reason string, status int32) corev1.ContainerState {
	return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: reason, ExitCode: status}}
}

func running() corev1.ContainerState {
	return corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
}

// pod has agents that were attached, each with the state of its container.
func pod(states ...corev1.ContainerState) *corev1.Pod {
	p := &corev1.Pod{}
	for i, state := range states {
		name := injection.ContainerName
		if i > 0 {
			name += fmt.Sprintf("-%d", i+1)
		}
		p.Spec.EphemeralContainers = append(p.Spec.EphemeralContainers, corev1.EphemeralContainer{
			EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: name, Args: []string{"--state-dir=", "--max-duration=30m0s"}},
		})
		p.Status.EphemeralContainerStatuses = append(p.Status.EphemeralContainerStatuses, corev1.ContainerStatus{Name: name, State: state})
	}
	return p
}

// One that waits as all do at first is starting, and one whose image can't be pulled is down.
func TestWords(t *testing.T) {
	for _, test := range []struct {
		state            corev1.ContainerState
		phase            container.Phase
		word, words, has string
	}{
		{corev1.ContainerState{}, container.Starting, "unknown", "is starting", "attached, longest life of a fault 30m; it is starting"},
		{waiting("", ""), container.Starting, "waiting", "is starting", "attached, longest life of a fault 30m; it is starting"},
		{waiting("ContainerCreating", ""), container.Starting, "ContainerCreating", "is starting", "attached, longest life of a fault 30m; it is starting"},
		{
			waiting("ErrImagePull", "no such image"), container.Down, "ErrImagePull", "is not started: ErrImagePull (no such image)",
			"attached, longest life of a fault 30m; it is not started: ErrImagePull (no such image)",
		},
		{running(), container.Running, "running", "runs", "attached, longest life of a fault 30m"},
		{
			ended("OOMKilled", 137), container.Down, "OOMKilled", "ended: OOMKilled, exit status 137",
			"attached, longest life of a fault 30m; it ended: OOMKilled, exit status 137",
		},
		{
			ended("", 2), container.Down, "ended", "ended: no reason, exit status 2",
			"attached, longest life of a fault 30m; it ended: no reason, exit status 2",
		},
	} {
		agent, has := container.Of(pod(test.state))
		if !has || agent.Kind != container.Attached || agent.Phase() != test.phase {
			t.Errorf("%s: %v, %s, phase %d; want phase %d", test.word, has, agent.Kind, agent.Phase(), test.phase)
		}
		if got := [3]string{agent.Word(), agent.Words(), agent.Has()}; got != [3]string{test.word, test.words, test.has} {
			t.Errorf("got %q, want %q, %q, %q", got, test.word, test.words, test.has)
		}
	}
}

// What an attached agent held is lost if it has ended and no later one runs.
func TestLost(t *testing.T) {
	for name, test := range map[string]struct {
		pod  *corev1.Pod
		want string
	}{
		"no agent":                     {pod(), ""},
		"one that runs":                {pod(running()), ""},
		"one that never started":       {pod(waiting("ErrImagePull", "")), ""},
		"one that has ended":           {pod(ended("Error", 1)), "tidelay-agent ended: Error, exit status 1"},
		"a second one that runs":       {pod(ended("Error", 1), running()), ""},
		"a second one that can't":      {pod(ended("Error", 1), waiting("ErrImagePull", "")), "tidelay-agent ended: Error, exit status 1"},
		"a second one that has ended":  {pod(ended("Error", 1), ended("OOMKilled", 137)), "tidelay-agent-2 ended: OOMKilled, exit status 137"},
		"a second one that is unknown": {pod(ended("Error", 1), corev1.ContainerState{}), "tidelay-agent ended: Error, exit status 1"},
	} {
		if got := container.Lost(test.pod); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

// Of several, the one of a name is told apart, and one that is not there yet is starting.
func TestNamed(t *testing.T) {
	p := pod(ended("Error", 1), running())
	for name, want := range map[string]container.Phase{"tidelay-agent": container.Down, "tidelay-agent-2": container.Running, "tidelay-agent-3": container.Starting} {
		if got := container.Named(p, name).Phase(); got != want {
			t.Errorf("%s: phase %d, want %d", name, got, want)
		}
	}
}

// Of a message that is the end of a log only its last error is told, in one line.
func TestMessages(t *testing.T) {
	const (
		cut     = `v1/status","from":"10.244.0.1:50494","status":200,"took":"2.188299ms"}`
		request = `{"time":"2026-11-29T22:53:19Z","level":"INFO","msg":"request","method":"GET"}`
		failed  = `{"time":"2026-11-29T22:53:20Z","level":"ERROR","msg":"agent failed","err":"listen tcp :2332:\n address in use"}`
	)
	for name, test := range map[string]struct{ message, want string }{
		"none":                       {"", ""},
		"empty lines":                {"\n\n", ""},
		"a sentence":                 {"no such image", " (no such image)"},
		"two lines":                  {"no such\timage\nat all", " (no such image)"},
		"too long":                   {strings.Repeat("é", 300), " (" + strings.Repeat("é", 200) + ")"},
		"a log without an error":     {cut + "\n" + request + "\n", ""},
		"a log of half a line":       {cut, ""},
		"a log with an error":        {cut + "\n" + failed + "\n" + request + "\n" + request[:40], " (agent failed: listen tcp :2332: address in use)"},
		"a log with a warning alone": {`{"level":"WARN","msg":"late"}`, " (late)"},
	} {
		state := ended("Error", 1)
		state.Terminated.Message = test.message
		if got := container.Lost(pod(state)); got != "tidelay-agent ended: Error, exit status 1"+test.want {
			t.Errorf("%s: got %q", name, got)
		}
	}
}
