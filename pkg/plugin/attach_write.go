package plugin

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/plugin/attach"
)

// tryAttach has the API server say whether it would attach agents, and changes nothing.
func (w writer) tryAttach(ctx context.Context, steps []attach.Step) error {
	for _, s := range steps {
		if ctx.Err() != nil {
			return errInterrupted
		}
		if err := w.attach(ctx, s, client.DryRunAll); err != nil {
			return err
		}
	}
	return nil
}

// attach attaches an agent to a pod, and to no other one of its name. Whoever comes second
// with the same name of a container changes nothing, or is refused.
func (w writer) attach(ctx context.Context, s attach.Step, options ...client.SubResourcePatchOption) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTime)
	defer cancel()
	patch, err := json.Marshal(addition(s))
	if err != nil {
		return fmt.Errorf("encode what is added to pod %s: %w", s.Pod.Name, err)
	}
	pod := &corev1.Pod{}
	pod.Namespace, pod.Name = s.Pod.Namespace, s.Pod.Name
	err = w.SubResource("ephemeralcontainers").Patch(ctx, pod, client.RawPatch(types.StrategicMergePatchType, patch), options...)
	switch {
	case err == nil:
		return nil
	case lacked(err) == "patch":
		return fmt.Errorf(`attach to pod %s: you lack the right "patch" on pods/ephemeralcontainers, which the ClusterRole tidelay-attacher has: %w`, s.Pod.Name, err)
	default:
		return fmt.Errorf("attach to pod %s: %w", s.Pod.Name, err)
	}
}

// addition returns what is added to a pod.
func addition(s attach.Step) any {
	return map[string]any{
		"apiVersion": "v1", "kind": "Pod",
		"metadata": map[string]any{"namespace": s.Pod.Namespace, "name": s.Pod.Name, "uid": s.Pod.UID},
		"spec":     map[string]any{"ephemeralContainers": []corev1.EphemeralContainer{s.Container}},
	}
}

// encodeAttached prints what is added to pods as yaml, json or name; nothing for "".
func (a *app) encodeAttached(steps []attach.Step, output string) error {
	if output == "" {
		return nil
	}
	items := []any{}
	for _, s := range steps {
		if output == "name" {
			a.say("pod/%s", s.Pod.Name)
		}
		items = append(items, addition(s))
	}
	if output == "name" {
		return nil
	}
	return a.encode(map[string]any{"apiVersion": "v1", "kind": "List", "items": items}, output)
}

func joined(names []string) string { return strings.Join(names, ", ") }
