#include "adapter_fixture.h"

int main(int argc, char **argv)
{
    return adapter_fixture_main("cohere", PST_FIXTURES "/cohere", argc, argv);
}
