package peer

import (
	"fmt"
	"net/http"

	"istio.io/istio/operator/pkg/render"
	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pkg/config/mesh"
	"istio.io/istio/pkg/config/mesh/meshwatcher"
	"istio.io/istio/pkg/kube/inject"
	"istio.io/istio/pkg/kube/multicluster"
	"istio.io/istio/pkg/log"
)

// unchanging is a configuration that stays as it is.
type unchanging struct {
	config *inject.Config
	values string
}

func (unchanging) SetHandler(func(*inject.Config, string) error) {}
func (unchanging) Run(<-chan struct{})                           {}
func (u unchanging) Get() (*inject.Config, string, error)        { return u.config, u.values, nil }

// istio returns the handler of Istio's webhook with the configuration that its
// charts install, and no log.
func istio() (http.Handler, error) {
	for _, scope := range log.Scopes() {
		scope.SetOutputLevel(log.NoneLevel)
	}
	configuration, err := installed()
	if err != nil {
		return nil, err
	}
	meshConfig := mesh.DefaultMeshConfig()
	environment := &model.Environment{Watcher: meshwatcher.NewTestWatcher(meshConfig), ConfigStore: model.NewFakeStore()}
	environment.SetPushContext(&model.PushContext{})
	mux := http.NewServeMux()
	_, err = inject.NewWebhook(inject.WebhookParameters{
		Watcher: configuration, Env: environment, Mux: mux, MultiCluster: multicluster.NewFakeController(),
	})
	if err != nil {
		return nil, fmt.Errorf("make Istio's webhook: %w", err)
	}
	return mux, nil
}

// installed renders the charts and takes the webhook's ConfigMap out of them.
func installed() (unchanging, error) {
	sets, _, err := render.GenerateManifest(nil, []string{"profile=minimal"}, false, nil, nil)
	if err != nil {
		return unchanging{}, fmt.Errorf("render Istio's charts: %w", err)
	}
	for _, set := range sets {
		for _, object := range set.Manifests {
			if object.GetName() != "istio-sidecar-injector" || object.GetKind() != "ConfigMap" {
				continue
			}
			data, _ := object.Object["data"].(map[string]any)
			text, _ := data["config"].(string)
			values, _ := data["values"].(string)
			config, err := inject.UnmarshalConfig([]byte(text))
			if err != nil {
				return unchanging{}, fmt.Errorf("read Istio's configuration: %w", err)
			}
			return unchanging{config: &config, values: values}, nil
		}
	}
	return unchanging{}, fmt.Errorf("no configuration of the webhook among %d charts", len(sets))
}
