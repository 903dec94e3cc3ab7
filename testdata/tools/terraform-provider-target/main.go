// Command terraform-provider-target manages objects that a server keeps by
// their names, as many a cloud does: pave/target for Terraform and OpenTofu.
//
//	provider "target" { address = "http://127.0.0.1:8080" }
//	resource "target_object" "main" { name = "one", content = "any text" }
//
// An object is at /objects/NAME of the server: POST makes it, PUT changes its
// content, GET returns that and DELETE removes it. Where the server answers 418,
// whatever it has done by then, the provider crashes.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/provider"
	pschema "github.com/hashicorp/terraform-plugin-framework/provider/schema"
	"github.com/hashicorp/terraform-plugin-framework/providerserver"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringplanmodifier"
	"github.com/hashicorp/terraform-plugin-framework/types"
)

func main() {
	err := providerserver.Serve(context.Background(), func() provider.Provider { return &target{} },
		providerserver.ServeOpts{Address: "registry.terraform.io/pave/target"})
	if err != nil {
		log.Fatal(err)
	}
}

// target is the provider: it knows where the server is.
type target struct{}

type settings struct {
	Address types.String `tfsdk:"address"`
}

func (*target) Metadata(_ context.Context, _ provider.MetadataRequest, r *provider.MetadataResponse) {
	r.TypeName = "target"
}

func (*target) Schema(_ context.Context, _ provider.SchemaRequest, r *provider.SchemaResponse) {
	r.Schema = pschema.Schema{Attributes: map[string]pschema.Attribute{"address": pschema.StringAttribute{Required: true}}}
}

func (*target) Configure(ctx context.Context, q provider.ConfigureRequest, r *provider.ConfigureResponse) {
	var s settings
	r.Diagnostics.Append(q.Config.Get(ctx, &s)...)
	r.ResourceData = s.Address.ValueString()
}

func (*target) DataSources(context.Context) []func() datasource.DataSource { return nil }

func (*target) Resources(context.Context) []func() resource.Resource {
	return []func() resource.Resource{func() resource.Resource { return &object{} }}
}

// object is the resource target_object.
type object struct{ address string }

type model struct {
	Name    types.String `tfsdk:"name"`
	Content types.String `tfsdk:"content"`
}

func (*object) Metadata(_ context.Context, _ resource.MetadataRequest, r *resource.MetadataResponse) {
	r.TypeName = "target_object"
}

func (*object) Schema(_ context.Context, _ resource.SchemaRequest, r *resource.SchemaResponse) {
	r.Schema = schema.Schema{Attributes: map[string]schema.Attribute{
		"name":    schema.StringAttribute{Required: true, PlanModifiers: []planmodifier.String{stringplanmodifier.RequiresReplace()}},
		"content": schema.StringAttribute{Required: true},
	}}
}

func (o *object) Configure(_ context.Context, q resource.ConfigureRequest, _ *resource.ConfigureResponse) {
	if address, ok := q.ProviderData.(string); ok { // nil before the provider was configured
		o.address = address
	}
}

func (o *object) Create(ctx context.Context, q resource.CreateRequest, r *resource.CreateResponse) {
	var m model
	r.Diagnostics.Append(q.Plan.Get(ctx, &m)...)
	if o.ask(ctx, &r.Diagnostics, http.MethodPost, m) {
		r.Diagnostics.Append(r.State.Set(ctx, m)...)
	}
}

func (o *object) Read(ctx context.Context, q resource.ReadRequest, r *resource.ReadResponse) {
	var m model
	r.Diagnostics.Append(q.State.Get(ctx, &m)...)
	content, found, err := o.call(ctx, http.MethodGet, m)
	switch {
	case err != nil:
		r.Diagnostics.AddError("read object", err.Error())
	case !found:
		r.State.RemoveResource(ctx)
	default:
		m.Content = types.StringValue(content)
		r.Diagnostics.Append(r.State.Set(ctx, m)...)
	}
}

func (o *object) Update(ctx context.Context, q resource.UpdateRequest, r *resource.UpdateResponse) {
	var m model
	r.Diagnostics.Append(q.Plan.Get(ctx, &m)...)
	if o.ask(ctx, &r.Diagnostics, http.MethodPut, m) {
		r.Diagnostics.Append(r.State.Set(ctx, m)...)
	}
}

func (o *object) Delete(ctx context.Context, q resource.DeleteRequest, r *resource.DeleteResponse) {
	var m model
	r.Diagnostics.Append(q.State.Get(ctx, &m)...)
	if _, _, err := o.call(ctx, http.MethodDelete, m); err != nil {
		r.Diagnostics.AddError("delete object", err.Error())
	}
}

// ask is call where the object must be there afterwards.
func (o *object) ask(ctx context.Context, ds *diag.Diagnostics, method string, m model) bool {
	if ds.HasError() {
		return false
	}
	_, found, err := o.call(ctx, method, m)
	if err == nil && !found {
		err = fmt.Errorf("%s is not there", m.Name.ValueString())
	}
	if err != nil {
		ds.AddError(method+" object", err.Error())
	}
	return err == nil
}

// call sends one request about the object; it is not found where the server
// says so.
func (o *object) call(ctx context.Context, method string, m model) (content string, found bool, err error) {
	place := o.address + "/objects/" + url.PathEscape(m.Name.ValueString())
	request, err := http.NewRequestWithContext(ctx, method, place, strings.NewReader(m.Content.ValueString()))
	if err != nil {
		return "", false, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", false, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	switch {
	case response.StatusCode == http.StatusTeapot:
		panic("the provider met a fault of its own")
	case err != nil:
		return "", false, err
	case response.StatusCode == http.StatusNotFound:
		return "", false, nil
	case response.StatusCode >= 300:
		return "", false, fmt.Errorf("the server answered %s: %s", response.Status, body)
	}
	return string(body), true, nil
}
