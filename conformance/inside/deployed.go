package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// Where instances are made.
const home = "istio-system"

// deployed asks for the instances that are made for two Gateways.
func (i *inside) deployed(check func(string, func(context.Context) error)) {
	check("a Gateway gets Pods and a Service of its own", func(ctx context.Context) error {
		return until(ctx, func(ctx context.Context) error { return i.own(ctx, "edge") })
	})
	check("it is not programmed before its Service has an address", func(ctx context.Context) error {
		return i.tells(ctx, "edge", "AddressNotAssigned")
	})
	check("it is programmed on the address that its Service gets", func(ctx context.Context) error {
		return errors.Join(i.balanced(ctx, "edge"), i.balanced(ctx, "other"))
	})
	check("its Pods answer", func(ctx context.Context) error { return i.serves(ctx, "any.example.com") })
	check("a route on two of them says so of each", i.hangs)
	check("two instances count when both serve it", func(ctx context.Context) error { return i.grows(ctx, "edge") })
	check("an edit of what was made is taken back", func(ctx context.Context) error { return i.mends(ctx, "edge") })
	check("parameters change what is made, and wrong ones are told and change nothing", i.changes)
	check("nobody lacks a right", i.allowedAll)
	check("all that was made goes with the Gateway, and what was said for it", i.goes)
}

func (i *inside) made(ctx context.Context, gateway string) (*appsv1.Deployment, *corev1.Service, error) {
	options := metav1.ListOptions{LabelSelector: "gateway.networking.k8s.io/gateway-name=" + gateway}
	deployments, err := i.client.AppsV1().Deployments(home).List(ctx, options)
	if err != nil {
		return nil, nil, err
	}
	services, err := i.client.CoreV1().Services(home).List(ctx, options)
	if err != nil {
		return nil, nil, err
	}
	if len(deployments.Items) != 1 || len(services.Items) != 1 {
		return nil, nil, fmt.Errorf("%d Deployments and %d Services for %s", len(deployments.Items), len(services.Items), gateway)
	}
	return &deployments.Items[0], &services.Items[0], nil
}

// podsOf returns the Pods that the Service of a Gateway selects.
func (i *inside) podsOf(ctx context.Context, service *corev1.Service) ([]corev1.Pod, error) {
	var parts []string
	for name, value := range service.Spec.Selector {
		parts = append(parts, name+"="+value)
	}
	list, err := i.client.CoreV1().Pods(home).List(ctx, metav1.ListOptions{LabelSelector: strings.Join(parts, ",")})
	if err != nil {
		return nil, err
	}
	return list.Items, nil
}

// own finds a ready Pod of a Gateway; what is asked afterwards is asked of that.
func (i *inside) own(ctx context.Context, gateway string) error {
	_, service, err := i.made(ctx, gateway)
	if err != nil {
		return err
	}
	pods, err := i.podsOf(ctx, service)
	if err != nil {
		return err
	}
	for _, pod := range pods {
		for _, condition := range pod.Status.Conditions {
			if condition.Type == corev1.PodReady && condition.Status == corev1.ConditionTrue {
				i.pod = &pod
				return nil
			}
		}
	}
	return fmt.Errorf("none of %d Pods of %s is ready", len(pods), gateway)
}

// tells waits until a Gateway says this of whether it is programmed.
func (i *inside) tells(ctx context.Context, gateway, wanted string) error {
	return i.tellsOf(ctx, gateway, "Programmed", wanted)
}

func (i *inside) tellsOf(ctx context.Context, gateway, kind, wanted string) error {
	return until(ctx, func(ctx context.Context) error {
		object, err := i.object(ctx, "gateways", gateway)
		if err != nil {
			return err
		}
		conditions, _, err := unstructured.NestedSlice(object.Object, "status", "conditions")
		for _, one := range conditions {
			one := one.(map[string]any)
			if said := fmt.Sprint(one["reason"], " ", one["message"]); one["type"] == kind && strings.Contains(said, wanted) {
				return nil
			}
		}
		return errors.Join(err, fmt.Errorf("not %s: %v", wanted, conditions))
	})
}

// balanced is the balancer of a Gateway's Service.
func (i *inside) balanced(ctx context.Context, gateway string) error {
	_, service, err := i.made(ctx, gateway)
	if err != nil {
		return err
	}
	address := map[string]string{"edge": "192.0.2.7", "other": "192.0.2.8"}[gateway]
	patch := []byte(`{"status": {"loadBalancer": {"ingress": [{"ip": "` + address + `"}]}}}`)
	services := i.client.CoreV1().Services(home)
	if _, err := services.Patch(ctx, service.Name, types.MergePatchType, patch, metav1.PatchOptions{}, "status"); err != nil {
		return err
	}
	if err := i.tells(ctx, gateway, "by 1/1 instances"); err != nil {
		return err
	}
	object, err := i.object(ctx, "gateways", gateway)
	if err != nil {
		return err
	}
	addresses, _, err := unstructured.NestedSlice(object.Object, "status", "addresses")
	if err == nil && (len(addresses) != 1 || addresses[0].(map[string]any)["value"] != address) {
		err = fmt.Errorf("its addresses are %v", addresses)
	}
	return err
}

// parents returns the names of the parents of which the route says that they have accepted it.
func (i *inside) parents(ctx context.Context) ([]string, error) {
	route, err := i.object(ctx, "httproutes", "echo")
	if err != nil {
		return nil, err
	}
	entries, _, err := unstructured.NestedSlice(route.Object, "status", "parents")
	var names []string
	for _, entry := range entries {
		entry := entry.(map[string]any)
		if _, err := condition(entry, "Accepted"); err == nil {
			names = append(names, entry["parentRef"].(map[string]any)["name"].(string))
		}
	}
	slices.Sort(names)
	return names, err
}

func (i *inside) hangs(ctx context.Context) error {
	return until(ctx, func(ctx context.Context) error {
		names, err := i.parents(ctx)
		if err == nil && !slices.Equal(names, []string{"edge", "other"}) {
			err = fmt.Errorf("accepted by %v", names)
		}
		return err
	})
}

func (i *inside) grows(ctx context.Context, gateway string) error {
	deployment, _, err := i.made(ctx, gateway)
	if err != nil {
		return err
	}
	deployments := i.client.AppsV1().Deployments(home)
	scale, err := deployments.GetScale(ctx, deployment.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	scale.Spec.Replicas = 2
	if _, err := deployments.UpdateScale(ctx, deployment.Name, scale, metav1.UpdateOptions{}); err != nil {
		return err
	}
	return i.tells(ctx, gateway, "by 2/2 instances")
}

func (i *inside) mends(ctx context.Context, gateway string) error {
	deployment, _, err := i.made(ctx, gateway)
	if err != nil {
		return err
	}
	before := deployment.Spec.Template.Spec.ServiceAccountName
	patch := []byte(`{"spec": {"template": {"spec": {"serviceAccountName": "another"}}}}`)
	deployments := i.client.AppsV1().Deployments(home)
	touched, err := deployments.Patch(ctx, deployment.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		return err
	}
	return until(ctx, func(ctx context.Context) error {
		now, _, err := i.made(ctx, gateway)
		if err != nil {
			return err
		}
		account := now.Spec.Template.Spec.ServiceAccountName
		if now.Generation <= touched.Generation || account != before || *now.Spec.Replicas != 2 {
			return fmt.Errorf("generation %d: %s, %d replicas", now.Generation, account, *now.Spec.Replicas)
		}
		return nil
	})
}

// changes has the other Gateway name a ConfigMap, which is right at first.
func (i *inside) changes(ctx context.Context) error {
	maps := i.client.CoreV1().ConfigMaps("shop")
	own := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "other"},
		Data: map[string]string{"type": "ClusterIP", "replicas": "2"}}
	own, err := maps.Create(ctx, own, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	kind := schema.GroupVersionResource{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "gateways"}
	patch := []byte(`{"spec": {"infrastructure": {"parametersRef": {"group": "", "kind": "ConfigMap", "name": "other"}}}}`)
	gateways := i.dynamic.Resource(kind).Namespace("shop")
	if _, err := gateways.Patch(ctx, "other", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return err
	}
	if err := i.tells(ctx, "other", "by 2/2 instances"); err != nil {
		return err
	}
	before, service, err := i.made(ctx, "other")
	if err != nil {
		return err
	}
	if service.Spec.Type != corev1.ServiceTypeClusterIP {
		return fmt.Errorf("its Service is of type %s", service.Spec.Type)
	}
	own.Data["image"] = "example.com/own"
	own.Data["replicas"] = "1"
	if _, err := maps.Update(ctx, own, metav1.UpdateOptions{}); err != nil {
		return err
	}
	if err := i.tellsOf(ctx, "other", "Accepted", "InvalidParameters"); err != nil {
		return err
	}
	after, _, err := i.made(ctx, "other")
	if err == nil && after.Generation != before.Generation {
		err = errors.New("its Deployment was changed")
	}
	return err
}

func (i *inside) allowedAll(ctx context.Context) error {
	_, service, err := i.made(ctx, "edge")
	if err != nil {
		return err
	}
	pods, err := i.podsOf(ctx, service)
	if err != nil {
		return err
	}
	i.pod = nil
	problems := i.allowed(ctx)
	for _, pod := range pods {
		i.pod = &pod
		text, err := i.log(ctx)
		problems = errors.Join(problems, err, refused(text))
	}
	i.pod = nil
	return problems
}

func (i *inside) goes(ctx context.Context) error {
	_, service, err := i.made(ctx, "edge")
	if err != nil {
		return err
	}
	kind := schema.GroupVersionResource{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "gateways"}
	if err := i.dynamic.Resource(kind).Namespace("shop").Delete(ctx, "edge", metav1.DeleteOptions{}); err != nil {
		return err
	}
	return until(ctx, func(ctx context.Context) error {
		if _, _, err := i.made(ctx, "edge"); err == nil || !strings.HasPrefix(err.Error(), "0 Deployments and 0 Services") {
			return errors.Join(errors.New("not all is gone"), err)
		}
		pods, err := i.podsOf(ctx, service)
		if err != nil || len(pods) > 0 {
			return errors.Join(err, fmt.Errorf("%d Pods are left", len(pods)))
		}
		leases, err := i.client.CoordinationV1().Leases(home).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, lease := range leases.Items {
			if strings.HasPrefix(lease.Name, service.Name) {
				return fmt.Errorf("the Lease %s is left", lease.Name)
			}
		}
		names, err := i.parents(ctx)
		if err == nil && !slices.Equal(names, []string{"other"}) {
			err = fmt.Errorf("the route is accepted by %v", names)
		}
		return err
	})
}
