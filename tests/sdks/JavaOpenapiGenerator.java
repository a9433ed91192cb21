// The scenario with the client of openapi-generator for Java (library native).
import com.fasterxml.jackson.databind.ObjectMapper;
import factwire.client.ApiClient;
import factwire.client.ApiException;
import factwire.client.api.FactsApi;
import factwire.client.api.FactsApi.APIExportFactsRequest;
import factwire.client.api.FactsApi.APIGetPositionRequest;
import factwire.client.api.FactsApi.APIPublishRequest;
import factwire.client.api.FactsApi.APIReadRequest;
import factwire.client.model.ConditionBody;
import factwire.client.model.ConditionItemBody;
import factwire.client.model.Fact;
import factwire.client.model.NewFactBody;
import factwire.client.model.Page;
import factwire.client.model.Problem;
import factwire.client.model.PublishBody;
import factwire.client.model.PublishResult;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.stream.IntStream;

public class JavaOpenapiGenerator {
    private static final ObjectMapper JSON = ApiClient.createDefaultObjectMapper();

    public static void main(String[] urls) throws Exception {
        FactsApi direct = facts(urls[0]);
        FactsApi throughABadNetwork = facts(urls[1]);
        publishWithAConditionAndRetry(direct);
        String cursor = page(direct);
        export(direct);
        follow(throughABadNetwork, cursor);
    }

    private static FactsApi facts(String url) {
        ApiClient client = new ApiClient();
        client.updateBaseUri(url);
        String key = System.getenv("KEY");
        if (key != null) {
            client.setRequestInterceptor(request -> request.header("Authorization", "Bearer " + key));
        }
        return new FactsApi(client);
    }

    private static void tell(Map<String, ?> step) throws IOException {
        System.out.println(JSON.writeValueAsString(step));
    }

    private static NewFactBody order(int number) {
        return new NewFactBody()
                .id(UUID.randomUUID())
                .namespace("shop")
                .type("OrderPlaced")
                .addAggregateIdsItem("order-" + number)
                .meta(Map.of("tenant", "a", "labels", List.of("x", "y")))
                .payload(Map.of("number", number));
    }

    /** An order that nobody has placed yet. */
    private static PublishBody once(int number, String after) {
        ConditionItemBody placed = new ConditionItemBody().addAggregateIdsItem("order-" + number);
        return new PublishBody()
                .addFactsItem(order(number))
                .condition(new ConditionBody().addFailIfMatchItem(placed).after(after));
    }

    private static void publishWithAConditionAndRetry(FactsApi facts) throws Exception {
        String start = facts.getPosition(APIGetPositionRequest.newBuilder().build()).getCursor();
        PublishBody body = once(1, start);
        tell(Map.of("published", publish(facts, body).getPosition()));
        try {
            publish(facts, once(1, start));
        } catch (ApiException error) {
            Problem problem = JSON.readValue(error.getResponseBody(), Problem.class);
            tell(Map.of("refused", problem.getType(), "status", error.getCode()));
        }
        tell(Map.of("replayed", publish(facts, body).getPosition()));
    }

    private static PublishResult publish(FactsApi facts, PublishBody body) throws ApiException {
        return facts.publish(APIPublishRequest.newBuilder().publishBody(body).build());
    }

    private static String page(FactsApi facts) throws Exception {
        List<NewFactBody> orders = IntStream.rangeClosed(2, 6).mapToObj(JavaOpenapiGenerator::order).toList();
        publish(facts, new PublishBody().facts(orders));
        List<Long> paged = new ArrayList<>();
        Object labels = null;
        for (String cursor = "start"; ; ) {
            Page read = facts.read(APIReadRequest.newBuilder().namespace(List.of("shop")).after(cursor).limit(2).build());
            for (Fact fact : read.getFacts()) {
                paged.add(fact.getPosition());
                labels = fact.getMeta().get("labels");
            }
            cursor = read.getCursor();
            if (read.getCaughtUp()) {
                tell(Map.of("paged", paged, "labels", labels));
                return cursor;
            }
        }
    }

    private static void export(FactsApi facts) throws Exception {
        File lines = facts.exportFacts(APIExportFactsRequest.newBuilder().namespace(List.of("shop")).build());
        tell(Map.of("exported", Files.readAllLines(lines.toPath()).size()));
    }

    private static void follow(FactsApi facts, String cursor) throws Exception {
        tell(Map.of("following", true));
        List<Long> followed = new ArrayList<>();
        for (String last = null; !"OrdersClosed".equals(last); ) {
            APIReadRequest request = APIReadRequest.newBuilder()
                    .namespace(List.of("shop"))
                    .after(cursor)
                    .waitSeconds(20.0)
                    .build();
            try {
                Page read = facts.read(request);
                for (Fact fact : read.getFacts()) {
                    followed.add(fact.getPosition());
                    last = fact.getType();
                }
                cursor = read.getCursor();
            } catch (ApiException error) {
                if (error.getCode() != 0) throw error; // 0: there was no whole answer
            }
        }
        tell(Map.of("followed", followed));
    }
}
