#include "adapter_fixture.h"

int main(int argc, char **argv)
{
    return adapter_fixture_main("azure", PST_FIXTURES "/azure", argc, argv);
}
